//! `secretfs audit tail`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::record::Read;
use crate::commands::output::{Format, OutputArgs, plain, print};
use crate::exit::Outcome;

/// How much of the end of a file is looked at.
const END: u64 = 8 << 20;
/// How often it is looked for new records.
const LOOK: Duration = Duration::from_millis(250);

/// Show the last records of an audit trail
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// The file that `--audit-log` names
    #[arg(env = "SECRETFS_AUDIT_LOG")]
    file: PathBuf,

    /// How many records
    #[arg(short = 'n', long, default_value_t = 10, value_name = "NUMBER")]
    lines: usize,

    /// Go on with new records as they come, also when the file is rotated
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &TailArgs) -> Outcome {
    let mut trail = Trail::open(&args.file)?;
    let records = trail.read()?;
    let first = records.len().saturating_sub(args.lines);
    show(records.get(first..).unwrap_or_default(), args.output.output)?;
    if args.follow { follow(trail, args) } else { Ok(()) }
}

fn follow(mut trail: Trail, args: &TailArgs) -> Outcome {
    loop {
        thread::sleep(LOOK);
        if trail.has_moved(&args.file) {
            show(&trail.read()?, args.output.output)?;
            // A file that is not there yet is made with the next record.
            match Trail::open(&args.file) {
                Ok(next) => trail = next,
                Err(_) => continue,
            }
        }
        show(&trail.read()?, args.output.output)?;
    }
}

/// A file that is read as it grows.
#[derive(Debug)]
struct Trail {
    reader: BufReader<File>,
    /// A line that has no end yet.
    partial: Vec<u8>,
}

impl Trail {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        let length = file.metadata()?.len();
        let begin = length.saturating_sub(END);
        file.seek(SeekFrom::Start(begin))?;
        let mut reader = BufReader::new(file);
        if begin > 0 {
            // It begins in the middle of a line.
            reader.by_ref().take(END).read_until(b'\n', &mut Vec::new())?;
        }
        Ok(Self { reader, partial: Vec::new() })
    }

    /// The records that were added.
    fn read(&mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        while self.reader.by_ref().take(END).read_until(b'\n', &mut self.partial)? > 0 {
            let is_whole = self.partial.ends_with(b"\n");
            if is_whole {
                lines.push(String::from_utf8_lossy(&self.partial).into_owned());
            }
            // No record is that long.
            if is_whole || self.partial.len() as u64 >= END {
                self.partial.clear();
            }
        }
        lines.retain(|line| Read::parse(line).is_some());
        Ok(lines)
    }

    /// Whether another file has the name now, or the file was cut.
    fn has_moved(&mut self, path: &Path) -> bool {
        let Ok(own) = self.reader.get_ref().metadata() else { return true };
        let is_cut = self.reader.stream_position().is_ok_and(|position| position > own.len());
        let Ok(now) = std::fs::metadata(path) else { return false };
        is_cut || (own.dev(), own.ino()) != (now.dev(), now.ino())
    }
}

fn show(lines: &[String], format: Format) -> Outcome {
    let told = |line: &String| match format {
        Format::Json => line.clone(),
        Format::Text => Read::parse(line).map(|record| text(&record)).unwrap_or_default(),
    };
    Ok(print(&lines.iter().map(told).collect::<String>())?)
}

/// One record in one line.
fn text(record: &Read) -> String {
    let container = record.actor.container.as_deref().map(|name| format!("[{name}]")).unwrap_or_default();
    let mut words = vec![
        record.time.clone(),
        record.node.clone(),
        record.api.operation.clone(),
        format!("{}{container}", record.who()),
    ];
    words.extend(record.program().map(str::to_owned));
    words.extend(record.class.clone());
    words.extend(record.resources.iter().map(|resource| {
        let name = resource.secret.as_ref().unwrap_or(&resource.name);
        let key = resource.key.as_deref().map(|key| format!("#{key}")).unwrap_or_default();
        let version = resource.version().map(|version| format!("@{version}")).unwrap_or_default();
        format!("{name}{key}{version}")
    }));
    words.extend(record.count.filter(|count| *count > 1).map(|count| format!("×{count}")));
    if record.is_failure() {
        words.push(format!("FAILED: {}", record.status_detail.as_deref().unwrap_or("?")));
    }
    plain(&words.join("  ")) + "\n"
}
