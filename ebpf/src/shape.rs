//! The fields that a matcher can read: each object is built for one of these.

use gatewatch_abi::Shape;

/// The fields that a matcher can read.
pub trait Shaped {
    /// Which fields.
    const SHAPE: Shape;
}

macro_rules! shapes {
    ($($name:ident: $shape:ident,)*) => {$(
        #[doc = concat!("[`Shape::", stringify!($shape), "`]")]
        pub struct $name;

        impl Shaped for $name {
            const SHAPE: Shape = Shape::$shape;
        }
    )*};
}
shapes!(Integers: INTEGERS, Paths: PATHS, Everything: EVERYTHING,);
