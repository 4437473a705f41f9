//! What a matcher can look at: each object is made for one of these.

use gatewatch_abi::Shape;

/// What a matcher can look at.
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
