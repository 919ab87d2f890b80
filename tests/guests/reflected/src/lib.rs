//! A component without the SDK whose functions take and return every type of WIT: what a host
//! makes tools of by looking at the types alone.

// The generated bindings carry no documentation of their own.
#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "reflected", generate_all });
}

use std::cell::Cell;

use bindings::exports::test::reflected::counters::{self, GuestCounter};
use bindings::exports::test::reflected::echoes::{self, Leaves};
use bindings::exports::test::reflected::shapes::{self, Drawing, Point, Problem, Shape};
use bindings::{DivisionError, Failure, Guest};

/// No point of a scaled drawing lies farther out.
const LARGEST_COORDINATE: f64 = 1e6;

struct Reflected;

bindings::export!(Reflected with_types_in bindings);

impl Guest for Reflected {
    fn double(n: u64) -> u64 {
        n.saturating_mul(2)
    }

    fn divide(dividend: i32, divisor: i32) -> Result<i32, DivisionError> {
        match divisor {
            0 => Err(DivisionError::ByZero),
            _ => dividend.checked_div(divisor).ok_or(DivisionError::Overflow),
        }
    }

    fn words(text: String) -> Result<Vec<String>, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() { Err("there are no words in it".into()) } else { Ok(words) }
    }

    fn refuse(attempts: u8) -> Result<(), Failure> {
        Err(Failure {
            code: "unavailable".into(),
            message: "try later".into(),
            retryable: true,
            retry_after_ms: Some(1500),
            attempts,
        })
    }

    fn check(fail: bool) -> Result<(), ()> {
        if fail { Err(()) } else { Ok(()) }
    }

    fn forget(_name: String) {}

    fn flood(count: u32) -> Vec<u32> {
        (0..count).collect()
    }
}

impl echoes::Guest for Reflected {
    fn scalars(value: Leaves) -> Leaves {
        value
    }

    fn bytes(value: Vec<u8>) -> Vec<u8> {
        value
    }

    fn lists(value: Vec<(String, Vec<i16>)>) -> Vec<(String, Vec<i16>)> {
        value
    }

    fn options(
        one: Option<String>,
        two: Option<Option<u8>>,
    ) -> (Option<String>, Option<Option<u8>>) {
        (one, two)
    }

    fn results(value: Vec<Result<u32, String>>) -> Vec<Result<u32, String>> {
        value
    }

    fn describe() -> String {
        "echoes".into()
    }
}

impl shapes::Guest for Reflected {
    fn scale(drawing: Drawing, factor: f64) -> Result<Drawing, Problem> {
        if drawing.shapes.is_empty() {
            return Err(Problem::Empty);
        }
        if !factor.is_finite() {
            return Err(Problem::BadFactor(format!("{factor} is not a finite number")));
        }
        let point = |point: Point| {
            let scaled = Point { x: point.x * factor, y: point.y * factor };
            match scaled.x.abs().max(scaled.y.abs()) {
                out if out > LARGEST_COORDINATE => Err(Problem::OutOfRange(scaled)),
                _ => Ok(scaled),
            }
        };
        let shapes = drawing.shapes.into_iter().map(|shape| {
            Ok(match shape {
                Shape::Blank => Shape::Blank,
                Shape::Circle(radius) => Shape::Circle(radius * factor),
                Shape::Polygon(points) => {
                    Shape::Polygon(points.into_iter().map(point).collect::<Result<_, _>>()?)
                }
                Shape::Label((text, at)) => Shape::Label((text, at.map(point).transpose()?)),
            })
        });
        let shapes = shapes.collect::<Result<_, _>>()?;
        Ok(Drawing { shapes, ..drawing })
    }

    fn describe() -> String {
        "shapes".into()
    }
}

impl counters::Guest for Reflected {
    type Counter = Counter;
}

/// The resource.
struct Counter(Cell<u32>);

impl GuestCounter for Counter {
    fn new(start: u32) -> Counter {
        Counter(Cell::new(start))
    }

    fn next(&self) -> u32 {
        let next = self.0.get();
        self.0.set(next.saturating_add(1));
        next
    }

    fn largest() -> u32 {
        u32::MAX
    }
}
