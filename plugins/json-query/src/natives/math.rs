//! The mathematical functions of C.

use jaq_core::Error;
use jaq_core::native::{bome, v};
use jaq_json::Val;
use jaq_std::ValT as _;

use super::{Native, Result, number};

/// A function of the input.
macro_rules! one {
    ($name:ident) => {
        one!($name, libm::$name)
    };
    ($name:ident, $function:expr) => {
        (stringify!($name), v(0), |cv| bome(number(&cv.1).map(|x| $function(x).into())))
    };
}

/// A function of two arguments, the second read by `$second`.
macro_rules! two {
    ($name:ident) => {
        two!($name, libm::$name, number, number)
    };
    ($name:ident, $function:expr, $first:expr, $second:expr) => {
        (stringify!($name), v(2), |mut cv| {
            let second = cv.0.pop_var();
            let first = cv.0.pop_var();
            let result = || Ok($function($first(&first)?, $second(&second)?).into());
            bome(result())
        })
    };
}

/// All of them. `definitions.jq` and the library of jq define the others by these.
pub(super) fn natives() -> Vec<Native> {
    vec![
        one!(acos),
        one!(acosh),
        one!(asin),
        one!(asinh),
        one!(atan),
        one!(atanh),
        one!(cbrt),
        one!(cos),
        one!(cosh),
        one!(exp),
        one!(exp10),
        one!(exp2),
        one!(expm1),
        one!(fabs),
        one!(ilogb, |x| libm::ilogb(x) as isize),
        one!(j0),
        one!(j1),
        one!(lgamma),
        one!(log),
        one!(log10),
        one!(log1p),
        one!(log2),
        one!(nearbyint, libm::rint),
        one!(rint),
        one!(sin),
        one!(sinh),
        one!(sqrt),
        one!(tan),
        one!(tanh),
        one!(tgamma),
        one!(trunc),
        one!(y0),
        one!(y1),
        ("frexp", v(0), |cv| {
            bome(number(&cv.1).map(|x| {
                let (fraction, exponent) = libm::frexp(x);
                [Val::from(fraction), Val::from(exponent as isize)].into_iter().collect()
            }))
        }),
        ("modf", v(0), |cv| {
            bome(number(&cv.1).map(|x| {
                let (fraction, whole) = libm::modf(x);
                [Val::from(fraction), Val::from(whole)].into_iter().collect()
            }))
        }),
        two!(atan2),
        two!(copysign),
        two!(fdim),
        two!(fmax),
        two!(fmin),
        two!(fmod),
        two!(hypot),
        two!(ldexp, libm::ldexp, number, exponent),
        two!(nextafter),
        two!(pow),
        two!(remainder),
        two!(scalbln, libm::scalbn, number, exponent),
        ("fma", v(3), |mut cv| {
            let z = cv.0.pop_var();
            let y = cv.0.pop_var();
            let x = cv.0.pop_var();
            bome((|| Ok(libm::fma(number(&x)?, number(&y)?, number(&z)?).into()))())
        }),
    ]
}

/// An exponent of two.
fn exponent(value: &Val) -> Result<i32> {
    value
        .as_isize()
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| Error::typ(value.clone(), "integer"))
}
