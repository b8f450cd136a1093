//! Volumes that another driver of the same name mounted, taken over while their pods run.

mod disk;
mod live;
mod upstream;
