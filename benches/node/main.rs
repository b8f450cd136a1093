//! Measures a real `secretfs node` as its kubelet would call it, against a real OpenBao, beside
//! the least that the kernel and the store take by themselves in the same run.
//!
//! ```text
//! cargo bench --profile ci --bench node -- [--json | --markdown] [--mounter] [ROW…]
//! ```
//!
//! `$SECRETFS_BIN` is the binary that is measured; by default the one that cargo builds beside this,
//! which has failpoints in it. Takes root, for it mounts.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot be measured has to fail loudly"
)]

mod floor;
mod footprint;
mod fuse;
mod measure;
mod publish;
mod report;
mod rotation;
mod start;
mod tenants;
mod world;

use std::path::PathBuf;
use std::pin::Pin;

use clap::Parser;

use crate::report::{Conditions, Line};
use crate::world::World;

#[derive(Debug, Parser)]
#[command(about = "Measures secretfs node beside the floor of kernel and store")]
struct Args {
    /// What to measure; everything by default
    #[arg(value_name = "ROW", value_parser = row)]
    rows: Vec<&'static Row>,
    /// Print a JSON line for each line of the table as it is measured
    #[arg(long)]
    json: bool,
    /// Print the table as Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Mount by a `secretfs-mounter` beside the node
    #[arg(long)]
    mounter: bool,
    /// Name the rows
    #[arg(long)]
    list: bool,
    /// cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

type Measured<'a> = Pin<Box<dyn Future<Output = Vec<Line>> + 'a>>;

struct Row {
    name: &'static str,
    measure: for<'a> fn(&'a World) -> Measured<'a>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

static ROWS: [Row; 21] = [
    Row { name: "publish-1", measure: |world| Box::pin(publish::one_secret(world)) },
    Row { name: "publish-10", measure: |world| Box::pin(publish::ten_secrets(world)) },
    Row { name: "in-flight-many", measure: |world| Box::pin(publish::many_identities(world)) },
    Row { name: "in-flight-one", measure: |world| Box::pin(publish::one_identity(world)) },
    Row { name: "store-excluded", measure: |world| Box::pin(publish::store_excluded(world)) },
    Row { name: "embedded", measure: |world| Box::pin(publish::embedded(world)) },
    Row { name: "republish", measure: |world| Box::pin(publish::republish(world)) },
    Row { name: "unpublish", measure: |world| Box::pin(publish::unpublish(world)) },
    Row { name: "rotation-many", measure: |world| Box::pin(rotation::many_identities(world)) },
    Row { name: "rotation-one", measure: |world| Box::pin(rotation::one_identity(world)) },
    Row { name: "pushed", measure: |world| Box::pin(rotation::pushed(world)) },
    Row { name: "hanging", measure: |world| Box::pin(rotation::hanging(world)) },
    Row { name: "beside-hanging", measure: |world| Box::pin(tenants::beside_hanging(world)) },
    Row { name: "memory", measure: |world| Box::pin(footprint::memory(world)) },
    Row { name: "crowd", measure: |world| Box::pin(footprint::crowd(world)) },
    Row { name: "memory-cluster", measure: |world| Box::pin(footprint::memory_in_a_cluster(world)) },
    Row { name: "start", measure: |world| Box::pin(start::start(world)) },
    Row { name: "fuse-many", measure: |world| Box::pin(fuse::many(world)) },
    Row { name: "fuse-one-cpu", measure: |world| Box::pin(fuse::one_cpu(world)) },
    Row { name: "fuse-all-cpus", measure: |world| Box::pin(fuse::all_cpus(world)) },
    Row { name: "binary", measure: |world| Box::pin(footprint::binary(world)) },
];

fn row(name: &str) -> Result<&'static Row, String> {
    let known = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("known are {}", known()))
}

fn main() {
    if fuse::was_started_again() {
        return;
    }
    let args = Args::parse();
    if args.list {
        ROWS.iter().for_each(|row| println!("{}", row.name));
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(args));
}

async fn run(args: Args) {
    let binary = std::env::var_os("SECRETFS_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_secretfs")), PathBuf::from);
    let world = World::new(&binary, args.mounter);
    let conditions = Conditions::here(world.openbao_version(), &binary);
    let rows: Vec<_> = if args.rows.is_empty() { ROWS.iter().collect() } else { args.rows };
    let mut lines = Vec::new();
    for row in rows {
        eprintln!("{} … (load {})", row.name, report::load());
        for line in (row.measure)(&world).await {
            eprintln!("  {line}");
            if args.json {
                println!("{}", line.json(row.name, &conditions));
            }
            lines.push(line);
        }
    }
    match (args.json, args.markdown) {
        (true, _) => {}
        (false, true) => print!("{}\n{conditions}.\n", report::markdown(&lines)),
        (false, false) => print!("{}\n{conditions}\n", report::table(&lines)),
    }
}
