//! What a call used.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::call::Denial;
use crate::limits::{Limits, Meter, Usage};

/// What a call used, against its limits, and which limit ended it if one did.
///
/// `used` and `children` are reproducible for the same input where the guest is deterministic
/// (after a trap fuel is a reproducible lower bound); the times are not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    /// The id of the call.
    pub call: String,
    /// The id of the tool.
    pub tool: String,
    /// Digest of the plugin's file, `sha256:…`; empty for what is not a plugin.
    pub digest: String,
    /// One word for the end, as [`End::word`](crate::End::word) gives it.
    pub end: &'static str,
    /// The limit that ended it.
    #[serde(serialize_with = "meter_name", skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Meter>,
    /// What it used, the calls below it included in every additive meter.
    pub used: Usage,
    /// What it might have used.
    pub limits: Limits,
    /// What it asked for and was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<Denial>,
    /// How many more refusals there were than `denials` holds.
    #[serde(skip_serializing_if = "is_zero")]
    pub denials_left_out: u64,
    /// Waiting before the start, which is billed to nobody.
    #[serde(serialize_with = "micros", rename = "queued-us")]
    pub queued: Duration,
    /// From the start to the end.
    #[serde(serialize_with = "micros", rename = "wall-us")]
    pub wall: Duration,
    /// The receipts of the tools it called, in call order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Receipt>,
}

impl Receipt {
    /// A receipt of a call that used nothing.
    pub fn empty(call: String, tool: String, end: &'static str) -> Receipt {
        Receipt {
            call,
            tool,
            digest: String::new(),
            end,
            ended_by: None,
            used: Usage::default(),
            limits: Limits::default(),
            denials: Vec::new(),
            denials_left_out: 0,
            queued: Duration::ZERO,
            wall: Duration::ZERO,
            children: Vec::new(),
        }
    }

    /// What the call itself used of a meter, the calls below it left out.
    pub fn own(&self, meter: Meter) -> u64 {
        let below: u64 = match meter.additive() {
            true => self.children.iter().map(|child| child.used.get(meter)).sum(),
            false => 0,
        };
        self.used.get(meter).saturating_sub(below)
    }
}

fn meter_name<S: Serializer>(meter: &Option<Meter>, serializer: S) -> Result<S::Ok, S::Error> {
    match meter {
        Some(meter) => serializer.serialize_str(meter.name()),
        None => serializer.serialize_none(),
    }
}

fn micros<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
