//! Exact draws from the discrete Laplace and the discrete Gaussian distribution (Canonne, Kamath
//! and Steinke 2020). All is done in whole numbers; a product that does not fit is drawn anew, which
//! is less likely than 2^-100.

use ampoule_sdk::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// How often a draw is begun anew at most. Each attempt succeeds with a chance of a third or more.
const MAX_ATTEMPTS: u32 = 10_000;

/// The discrete Laplace distribution of the scale t / s: the chance of x falls with
/// exp(-|x| s / t).
pub(crate) struct Laplace {
    t: u128,
    s: u128,
}

impl Laplace {
    /// # Errors
    /// `bad-arguments` where the scale is not one or too large.
    pub(crate) fn new(t: u128, s: u128) -> Result<Laplace> {
        // Room for what is drawn, which is some multiples of t.
        match t > 0 && s > 0 && t < 1 << 100 {
            true => Ok(Laplace { t, s }),
            false => Err(Error::bad_arguments("the noise has no scale: `epsilon` is too small")),
        }
    }

    /// Algorithm 2.
    ///
    /// # Errors
    /// `internal` where nothing is drawn in many attempts, which does not happen.
    pub(crate) fn draw(&self, rng: &mut StdRng) -> Result<i128> {
        for _ in 0..MAX_ATTEMPTS {
            let low = rng.random_range(0..self.t);
            if !exponential(low, self.t, rng) {
                continue;
            }
            let mut high = 0_u128;
            while exponential(1, 1, rng) {
                high += 1;
            }
            let Some(whole) = self.t.checked_mul(high).and_then(|high| high.checked_add(low))
            else {
                continue;
            };
            let size = (whole / self.s) as i128;
            let negative = rng.next_u32() & 1 == 1;
            if negative && size == 0 {
                continue;
            }
            return Ok(if negative { -size } else { size });
        }
        Err(no_luck())
    }
}

/// True with the chance exp(-n / d), where n is at most d. Algorithm 1.
fn exponential(n: u128, d: u128, rng: &mut StdRng) -> bool {
    let mut k = 1_u128;
    loop {
        // A chance of n / (d k); beyond 128 bits it is as good as none.
        let Some(of) = d.checked_mul(k) else { return k % 2 == 1 };
        if rng.random_range(0..of) >= n {
            return k % 2 == 1;
        }
        k += 1;
    }
}

/// True with the chance exp(-n / d), for any n.
fn exponential_of_any(n: u128, d: u128, rng: &mut StdRng) -> bool {
    for _ in 0..n / d {
        if !exponential(1, 1, rng) {
            return false;
        }
    }
    exponential(n % d, d, rng)
}

/// The discrete Gaussian distribution of a standard deviation. Algorithm 3.
///
/// # Errors
/// `bad-arguments` where the deviation is none or too large.
pub(crate) fn gauss(sigma: u128, rng: &mut StdRng) -> Result<i128> {
    if sigma == 0 || sigma >= 1 << 29 {
        return Err(Error::bad_arguments(
            "the noise is too fine or too coarse: change `epsilon` or `sensitivity`",
        ));
    }
    let t = sigma + 1;
    let laplace = Laplace::new(t, 1)?;
    let square = sigma * sigma;
    for _ in 0..MAX_ATTEMPTS {
        let drawn = laplace.draw(rng)?;
        // exp(-(|y| - sigma^2 / t)^2 / (2 sigma^2)), with both sides of the fraction times t^2.
        let Some(distance) = drawn.unsigned_abs().checked_mul(t) else { continue };
        let distance = distance.abs_diff(square);
        let Some(n) = distance.checked_mul(distance) else { continue };
        if exponential_of_any(n, 2 * square * t * t, rng) {
            return Ok(drawn);
        }
    }
    Err(no_luck())
}

fn no_luck() -> Error {
    Error::internal("no noise was drawn in many attempts").with_retry()
}
