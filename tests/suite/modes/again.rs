//! Tests that run once for each mode.

/// Has tests of the module in which this stands run once more, with classes that choose mode fuse. The module
/// `in_mode_fuse` shows there whose names they have.
macro_rules! again_in_mode_fuse {
    ($($test:ident),+ $(,)?) => {
        mod in_mode_fuse {
            $(
                #[test]
                fn $test() {
                    testing::in_mode_fuse(super::$test);
                }
            )+
        }
    };
}

pub(crate) use again_in_mode_fuse;
