//! Takes over volumes that another driver with the same name mounted, while their pods run.

mod disk;
mod live;
mod upstream;
