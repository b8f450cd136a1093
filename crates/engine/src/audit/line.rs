//! A record as a line.

use std::io;
use std::sync::OnceLock;

use jiff::Timestamp;
use program::visible::visible_json;
use serde::Serialize;

use super::{Actor, Operation, Record, Resource};

/// The name of the node in all records of this process, also in the record that replaces lost ones.
static NODE: OnceLock<String> = OnceLock::new();

/// Writes `node` as the name of the node. Works only before the first record of the process.
pub(super) fn name_node(node: String) {
    // A second name changes nothing.
    let _ = NODE.set(node);
}

/// `record` as a line with its line end, with the present time and an id of its own.
pub(super) fn line(record: &Record) -> io::Result<Vec<u8>> {
    let time = Timestamp::now();
    let mut random = [0; 10];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    Ok(record.line(time, &uid(time, random), NODE.get_or_init(machine))?)
}

/// The kernel's host name of this machine, or of this pod.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

impl Record {
    fn status(&self) -> Status {
        match (&self.failure, self.is_attempt) {
            (Some(_), _) => Status::Failure,
            (None, true) => Status::Unknown,
            (None, false) => Status::Success,
        }
    }

    /// The record as one line, with its line end.
    pub(super) fn line(&self, time: Timestamp, uid: &str, node: &str) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_string(&Line {
            time,
            metadata: Metadata { uid },
            class_uid: API_ACTIVITY,
            activity_id: self.operation.activity(),
            api: Api { operation: self.operation },
            node,
            actor: &self.actor,
            resources: &self.resources,
            class: self.class.as_deref(),
            volume: self.volume.as_deref(),
            status: self.status(),
            status_detail: self.failure.as_deref(),
            count: self.times.map(|times| times.count),
            start_time: self.times.map(|times| times.first),
            end_time: self.times.map(|times| times.last),
        })?;
        line.push('\n');
        Ok(visible_json(&line).into_owned().into_bytes())
    }
}

/// OCSF's `class_uid` of API Activity.
const API_ACTIVITY: u16 = 6003;

#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    metadata: Metadata<'a>,
    class_uid: u16,
    activity_id: u8,
    api: Api,
    node: &'a str,
    actor: &'a Actor,
    resources: &'a [Resource],
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<&'a str>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<Timestamp>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct Api {
    operation: Operation,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Failure,
    /// It is about to be tried.
    Unknown,
}

/// A UUID of version 7: unique, and sorted by time, to a quarter of a microsecond (RFC 9562, section 6.2, method 3).
pub(super) fn uid(time: Timestamp, random: [u8; 10]) -> String {
    let millis = u128::from(time.as_millisecond().unsigned_abs()) & 0xffff_ffff_ffff;
    let fraction = u128::from(time.subsec_nanosecond().unsigned_abs() % 1_000_000) * 4096 / 1_000_000;
    let random = random.iter().fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
    let (version, variant) = (0x7 << 76, 0b10 << 62);
    let number = (millis << 80) | version | (fraction << 64) | variant | (random & ((1 << 62) - 1));
    let hex = format!("{number:032x}");
    let mut parts = Vec::new();
    let mut rest = hex.as_str();
    for length in [8, 4, 4, 4, 12] {
        let (part, after) = rest.split_at(length);
        parts.push(part);
        rest = after;
    }
    parts.join("-")
}
