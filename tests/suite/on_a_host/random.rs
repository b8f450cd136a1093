//! Random sequences of mounts, unmounts, deaths and foreign mounts. A foreign mount must never change.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

use fastrand::Rng;
use mountinfo::Mount;
use rustix::process::Signal;
use testing::in_private_mounts;

use super::{Host, Mounting, foreign};
use crate::support::Target;

/// The number of sequences, and of steps in each.
const SEQUENCES: usize = 12;
const STEPS: usize = 14;

/// A foreign mount.
struct Theirs {
    at: PathBuf,
    /// The mount, as the mount table showed it.
    mount: Mount,
    text: String,
    /// An open file, so that the mount is in use.
    in_use: Option<File>,
}

/// A host in the middle of a sequence.
struct World {
    host: Host,
    /// A directory for foreign bind mounts.
    elsewhere: Target,
    theirs: Vec<Theirs>,
    mounting: Option<Mounting>,
    random: Rng,
    told: Vec<String>,
}

fn mounts() -> Vec<Mount> {
    mountinfo::mounts(&fs::read("/proc/thread-self/mountinfo").unwrap()).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let host = Host::new();
        fs::create_dir_all(host.mount_point()).unwrap();
        fs::write(host.mount_point().join("beneath"), "theirs").unwrap();
        let random = Rng::with_seed(seed);
        Self { host, elsewhere: Target::new(), theirs: Vec::new(), mounting: None, random, told: Vec::new() }
    }

    fn step(&mut self) {
        match self.random.u8(..9) {
            0 | 1 => self.mount(&[]),
            2 => self.mount(&["--once"]),
            3 => self.command(&["umount", "--all"]),
            4 => self.command(&["umount", self.host.mount_point().to_str().unwrap().to_owned().as_str()]),
            5 => self.end(Signal::KILL),
            6 => self.end(Signal::TERM),
            7 => self.take_theirs(),
            _ => self.mount_theirs(),
        }
    }

    fn mount(&mut self, flags: &[&str]) {
        self.told.push(format!("mount {flags:?}"));
        let mut mounting = self.host.start(flags);
        if mounting.serves() {
            self.mounting = Some(mounting);
        }
    }

    fn command(&mut self, words: &[&str]) {
        let told = self.host.run(words);
        self.told.push(format!("{words:?}: {:?}", told.code));
        if let Some(mounting) = &mut self.mounting
            && mounting.child.try_wait().unwrap().is_some()
        {
            self.mounting = None;
        }
    }

    fn end(&mut self, signal: Signal) {
        self.told.push(format!("{signal:?}"));
        if let Some(mut mounting) = self.mounting.take() {
            let _ = mounting.child.try_wait().unwrap().is_some() || mounting.stopped_by(signal).0.success();
        }
    }

    fn mount_theirs(&mut self) {
        let above = self.host.at("above");
        let target = self.host.mount_point();
        let places = [target.clone(), target.join("below"), target.join("..data/below"), above];
        let at = places[self.random.usize(..places.len())].clone();
        let bound = self.elsewhere.parent().to_str().unwrap().to_owned();
        let kinds =
            [["-t", "tmpfs", "theirs"], ["-t", "tmpfs", "secretfs"], ["--bind", &bound, "--make-private"]];
        let kind = kinds[self.random.usize(..kinds.len())];
        if fs::create_dir_all(&at).is_err() {
            return;
        }
        foreign(&kind, &at);
        self.told.push(format!("theirs {kind:?} at {}", at.display()));
        let text = format!("theirs {}", self.theirs.len());
        let file = format!("theirs-{}", self.theirs.len());
        fs::write(at.join(&file), &text).unwrap();
        let in_use = self.random.bool().then(|| File::open(at.join(&file)).unwrap());
        let mount = mounts().pop().unwrap();
        self.theirs.push(Theirs { at, mount, text, in_use });
    }

    /// Unmounts the newest foreign mount, unless a mount of secretfs is on it.
    fn take_theirs(&mut self) {
        let Some(theirs) = self.theirs.pop() else { return };
        if !self.is_theirs_on_top(&theirs) {
            return self.theirs.push(theirs);
        }
        self.told.push(format!("theirs at {} is taken away", theirs.at.display()));
        drop(theirs.in_use);
        assert!(Command::new("umount").arg(&theirs.at).status().unwrap().success());
    }

    fn is_theirs_on_top(&self, theirs: &Theirs) -> bool {
        !mounts().iter().any(|mount| mount.parent == theirs.mount.id)
            && fs::read_to_string(theirs.at.join(format!("theirs-{}", self.theirs.len())))
                .is_ok_and(|text| text == theirs.text)
    }

    /// Checks that every foreign mount still exists, and that those in use have their contents.
    fn check(&mut self, seed: u64) {
        let mounts = mounts();
        let told = self.told.join("\n");
        for theirs in &mut self.theirs {
            assert!(
                mounts.contains(&theirs.mount),
                "seed {seed}: {} is gone after\n{told}",
                theirs.at.display()
            );
            if let Some(file) = &mut theirs.in_use {
                let mut text = String::new();
                std::io::Seek::rewind(file).unwrap();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, theirs.text, "seed {seed}: {} after\n{told}", theirs.at.display());
            }
        }
    }

    /// Removes all mounts, the newest first. Checks that each foreign mount is unchanged.
    fn wind_up(mut self, seed: u64) {
        self.end(Signal::KILL);
        while !self.theirs.is_empty() {
            let before = self.theirs.len();
            self.host.umount();
            self.take_theirs();
            assert!(
                self.theirs.len() < before,
                "seed {seed}: theirs is changed or hidden after\n{}",
                self.told.join("\n")
            );
        }
        let told = self.host.run(&["umount", "--all"]);
        assert_eq!(self.host.mounts().len(), 0, "seed {seed}: {told:?} after\n{}", self.told.join("\n"));
        let beneath = self.host.read("beneath");
        assert_eq!(beneath.as_deref(), Some("theirs"), "seed {seed}: after\n{}", self.told.join("\n"));
    }
}

#[test]
fn whatever_is_mounted_unmounted_and_killed_in_whatever_order_nothing_of_others_is_ever_changed() {
    in_private_mounts(|| {
        let first = fastrand::u64(..1 << 32);
        println!("seeds {first} to {}", first + SEQUENCES as u64 - 1);
        for seed in first..first + SEQUENCES as u64 {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
                world.check(seed);
            }
            world.wind_up(seed);
        }
    });
}
