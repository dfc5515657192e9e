//! What takes minutes: a run that is killed again and again, and one whose memory is watched. Left out of ordinary test runs:
//!
//! ```sh
//! cargo test --release --test it -- --ignored --nocapture endurance
//! ```
//!
//! With `ANYFOLD_RESULTS=FOLDER` the figures are written there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyfold::gpu::Gpu;
use anyfold::train::checkpoint;
use anyfold::train::ranks::Ranks;
use anyfold::train::run::{self, Start};
use serde_json::{Value, json};

use crate::train_command::{arguments, set};
use crate::trainer::{config, gpu};

fn write(name: &str, figures: &Value) {
    println!("{figures:#}");
    if let Some(folder) = std::env::var_os("ANYFOLD_RESULTS") {
        std::fs::write(Path::new(&folder).join(name), format!("{figures:#}\n")).unwrap();
    }
}

fn machine(gpu: &Gpu) -> Value {
    json!({ "adapter": gpu.info.name, "driver": format!("{} {}", gpu.info.driver, gpu.info.driver_info), "version": env!("CARGO_PKG_VERSION") })
}

/// Resident memory of this process, bytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn median(values: impl Iterator<Item = u64>) -> f64 {
    let mut all: Vec<u64> = values.collect();
    all.sort_unstable();
    all[all.len() / 2] as f64
}

#[test]
#[ignore = "500 steps take minutes"]
fn five_hundred_steps_leave_memory_flat() {
    let folder = tempfile::tempdir().unwrap();
    let steps = 500;
    let config = config(&set(folder.path()), &["run.samples=500", "run.checkpoint_every=50", "run.keep=2"]);
    let (gpu, stop, done) = (gpu(), AtomicBool::new(false), AtomicBool::new(false));
    let out = folder.path().join("run");
    let began = Instant::now();
    let mut samples: Vec<[u64; 3]> = Vec::new();
    let ended = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let ended = run::run(&gpu, &Start { config: &config, folder: &out, from: None, stop: &stop, ranks: &Ranks::alone() });
            done.store(true, Ordering::Relaxed);
            ended
        });
        while !done.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(500));
            // The log has a line a step.
            let step = std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |log| log.lines().count() as u64);
            samples.extend(resident().map(|bytes| [step, bytes, gpu.allocated().unwrap_or(0)]));
        }
        run.join().unwrap()
    })
    .unwrap();
    assert_eq!(ended.step, steps);
    let of = |from: u64, to: u64, column: usize| median(samples.iter().filter(|s| (from..=to).contains(&s[0])).map(|s| s[column]));
    let [early, late] = [[1, 2].map(|c| of(50, 150, c)), [1, 2].map(|c| of(400, 500, c))];
    let every: Vec<_> = samples.iter().step_by((samples.len() / 60).max(1)).collect();
    write(
        "endurance-500-steps.json",
        &json!({
            "machine": machine(&gpu), "steps": steps, "seconds": began.elapsed().as_secs_f64(),
            "resident_bytes": { "median of steps 50 to 150": early[0], "median of steps 400 to 500": late[0] },
            "allocator_bytes": { "median of steps 50 to 150": early[1], "median of steps 400 to 500": late[1] },
            "samples of step, resident, allocator": every,
        }),
    );
    assert!(late[0] < early[0] * 1.02 + 4e6, "resident memory grew from {} to {} bytes", early[0], late[0]);
    assert!(late[1] <= early[1], "the allocator grew from {} to {} bytes", early[1], late[1]);
}

/// A number in [0, 1) from the clock: when a run is killed is to be different every time.
fn chance() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    f64::from(nanos.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24)
}

#[test]
#[ignore = "ten runs that are killed take minutes"]
fn ten_kills_change_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let (killed, whole) = (folder.path().join("killed"), folder.path().join("whole"));
    let steps = 60;
    let start = |out: &Path, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_anyfold"))
            .args(arguments(out, &set, steps, more))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // Not by `Folder`, which takes what is being written for what an interrupted write left.
    let names = || -> Vec<String> {
        let all = std::fs::read_dir(killed.join("checkpoints")).into_iter().flatten().flatten();
        all.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    };
    let step = |name: &String| name.strip_prefix("step-")?.strip_suffix(".ckpt")?.parse::<u64>().ok();
    let newest = || names().iter().filter_map(step).max().unwrap_or(0);
    let (mut kills, mut lost) = (Vec::new(), 0);
    for round in 0..10 {
        let before = newest();
        let mut child = start(&killed, if before > 0 { &["--resume"] } else { &[] });
        let began = Instant::now();
        // Two are killed while they start; the others at any moment of a few steps: within a step, its log, or the writing of its checkpoint.
        if round % 5 != 4 {
            while newest() == before {
                assert!(
                    child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(300),
                    "round {round}: no step was done"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        std::thread::sleep(Duration::from_secs_f64(chance() * 1.5));
        assert!(child.try_wait().unwrap().is_none(), "round {round}: the run ended by itself; it needs more steps");
        child.kill().unwrap();
        child.wait().unwrap();
        lost += usize::from(names().iter().any(|name| name.starts_with(".unfinished-")));
        kills.push(json!({ "seconds": began.elapsed().as_secs_f64(), "newest checkpoint": newest() }));
    }
    assert!(newest() < steps, "the last kill came after the end");
    assert!(start(&killed, &["--resume"]).wait().unwrap().success());
    assert!(start(&whole, &[]).wait().unwrap().success());
    let last = |run: &Path| checkpoint::read(&run.join(format!("checkpoints/step-{steps:08}.ckpt"))).unwrap().arenas;
    let (a, b) = (last(&killed), last(&whole));
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert!(a.len() >= 6 && a.keys().eq(b.keys()));
    let equal = a.iter().all(|(name, values)| bits(values) == bits(&b[name]));
    let elements: usize = a.values().map(Vec::len).sum();
    write(
        "endurance-ten-kills.json",
        &json!({
            "machine": machine(&gpu()), "steps": steps, "kills": kills, "kills within the writing of a checkpoint": lost,
            "values compared": elements, "bit-identical": equal,
        }),
    );
    assert!(equal, "a run that was killed ten times has other bits");
}
