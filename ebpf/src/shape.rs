//! The fields that a matcher can read: each object is built for one of these.

use gatewatch_abi::Shape;

/// The fields that a matcher can read.
pub trait Shaped {
    /// Which fields.
    const SHAPE: Shape;
    /// Whether there is more to do than to count: actions to perform, events to record. The verifier removes what a policy
    /// doesn't need of it, and yet what is kept meanwhile would cost each event instructions.
    const ACTS: bool;
}

macro_rules! shapes {
    ($($name:ident: $shape:ident, $acts:literal,)*) => {$(
        #[doc = concat!("[`Shape::", stringify!($shape), "`], and whether there is more to do: ", stringify!($acts))]
        pub struct $name;

        impl Shaped for $name {
            const SHAPE: Shape = Shape::$shape;
            const ACTS: bool = $acts;
        }
    )*};
}
shapes!(Integers: INTEGERS, false, Paths: PATHS, false, Everything: EVERYTHING, false, Acting: EVERYTHING, true,);
