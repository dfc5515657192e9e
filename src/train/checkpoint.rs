//! Checkpoints: one file that holds all a run goes on from, written whole or not at all, every byte under a checksum.
//!
//! ```text
//! "anyfold\n"                8 bytes
//! length of the header       u64, little-endian
//! checksum of the header     u32 (CRC-32)
//! header                     JSON: state of the run, and name, length and checksum of every arena
//! arenas                     f32, little-endian, one after the other
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::sampler::SamplerState;
use crate::error::{Error, Result};
use crate::gpu::recorder::Traits;
use crate::io::text;
use crate::model::config::Config as Sizes;
use crate::model::network::Network;
use crate::model::parameters::Tensors;
use crate::nn::params::Params;

const MAGIC: &[u8; 8] = b"anyfold\n";
const VERSION: u32 = 1;
/// Longest header that is believed: a flipped bit in its length must not ask for memory.
const MAX_HEADER: u64 = 64 << 20;

/// The state of a run between two steps, apart from its arenas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done, skipped ones counted.
    pub step: u64,
    /// Sampling, which is all the random state there is.
    pub sampler: SamplerState,
    /// The resolved configuration, as TOML (which keeps every bit of a number).
    pub config: String,
    /// Digest of the arena's layout ([`layout`]).
    pub layout: u32,
    /// Which kernels ran: with the same ones a resumed run has the same bits.
    pub kernels: Traits,
    /// Wall-clock seconds of the run so far.
    pub seconds: f64,
    /// Mean lDDT-Cα of the last validation at or before this step.
    pub score: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    program: String,
    state: State,
    arenas: Vec<Arena>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Arena {
    name: String,
    elements: u64,
    crc32: u32,
}

/// A checkpoint in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The run's state.
    pub state: State,
    /// Arenas by name: `parameters`, `adam_m`, `adam_v`, `ema`, `total`, `status`.
    pub arenas: BTreeMap<String, Vec<f32>>,
}

/// Digest of where each parameter lies in the arena.
pub fn layout(params: &Params) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for e in params.entries() {
        hasher.update(format!("{} {:?} {:?} {} {:?};", e.name, e.block, e.shape, e.offset, e.strides).as_bytes());
    }
    hasher.finalize()
}

/// Writes a checkpoint: a temporary file beside it, flushed to the disk, then renamed.
pub fn write(path: &Path, state: &State, arenas: &[(&str, &[f32])]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |e| Error::io(path, e);
    let arena = |(name, data): &(&str, &[f32])| Arena {
        name: (*name).into(),
        elements: data.len() as u64,
        crc32: crc32fast::hash(bytemuck::cast_slice(data)),
    };
    let header = Header {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        state: state.clone(),
        arenas: arenas.iter().map(arena).collect(),
    };
    let json = serde_json::to_vec(&header).expect("a header is JSON");
    let temporary = text::temporary_in(folder).map_err(io)?;
    let mut file = BufWriter::with_capacity(1 << 20, temporary.as_file());
    let mut all = || -> std::io::Result<()> {
        file.write_all(MAGIC)?;
        file.write_all(&(json.len() as u64).to_le_bytes())?;
        file.write_all(&crc32fast::hash(&json).to_le_bytes())?;
        file.write_all(&json)?;
        arenas.iter().try_for_each(|(_, data)| file.write_all(bytemuck::cast_slice(data)))?;
        file.flush()
    };
    all().map_err(io)?;
    drop(file);
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|e| io(e.error))?;
    // The name, too, must be on the disk before an older checkpoint is removed. Only Unix can open a folder.
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// Reads a checkpoint and checks every byte.
pub fn read(path: &Path) -> Result<Checkpoint> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let header = read_header(path, &mut file)?;
    let mut arenas = BTreeMap::new();
    for arena in &header.arenas {
        let cut = || Error::format(path, format!("the file is cut off within `{}`; resume from an older checkpoint", arena.name));
        let mut left = arena.elements.checked_mul(4).ok_or_else(cut)?;
        // Memory is asked for as bytes arrive: a wrong length is not believed.
        let mut bytes = Vec::new();
        while left > 0 {
            let part = left.min(64 << 20);
            let got = (&file).take(part).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
            if (got as u64) < part {
                return Err(cut());
            }
            left -= part;
        }
        if crc32fast::hash(&bytes) != arena.crc32 {
            return Err(Error::format(
                path,
                format!("the checksum of `{}` is wrong: the file is damaged; resume from an older checkpoint", arena.name),
            ));
        }
        arenas.insert(arena.name.clone(), bytemuck::pod_collect_to_vec(&bytes));
    }
    if file.read(&mut [0]).map_err(|e| Error::io(path, e))? != 0 {
        return Err(Error::format(path, "there are bytes after the last arena: the file is damaged; resume from an older checkpoint"));
    }
    Ok(Checkpoint { state: header.state, arenas })
}

/// Reads the state alone, without the arenas.
pub fn read_state(path: &Path) -> Result<State> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    Ok(read_header(path, &mut file)?.state)
}

fn read_header(path: &Path, file: &mut File) -> Result<Header> {
    let wrong = |what: &str| Error::format(path, what);
    let mut start = [0; 20];
    let cut = "the file is cut off within its header; resume from an older checkpoint";
    file.read_exact(&mut start).map_err(|_| wrong(cut))?;
    if &start[..8] != MAGIC {
        return Err(wrong("not a checkpoint of this program"));
    }
    let length = u64::from_le_bytes(start[8..16].try_into().expect("eight bytes"));
    let crc32 = u32::from_le_bytes(start[16..].try_into().expect("four bytes"));
    if length > MAX_HEADER {
        return Err(wrong("the length of the header is wrong: the file is damaged; resume from an older checkpoint"));
    }
    let mut json = Vec::new();
    file.take(length).read_to_end(&mut json).map_err(|e| Error::io(path, e))?;
    if (json.len() as u64) < length {
        return Err(wrong(cut));
    }
    if crc32fast::hash(&json) != crc32 {
        return Err(wrong("the checksum of the header is wrong: the file is damaged; resume from an older checkpoint"));
    }
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let version: Version = serde_json::from_slice(&json).map_err(|e| wrong(&format!("the header: {e}")))?;
    if version.version != VERSION {
        return Err(wrong(&format!("format {} of a checkpoint; this program reads {VERSION}", version.version)));
    }
    serde_json::from_slice(&json).map_err(|e| wrong(&format!("the header: {e}")))
}

/// A checksum of every arena, in words.
pub fn digest<'a>(arenas: impl IntoIterator<Item = (&'a str, &'a [f32])>) -> String {
    let one = |(name, data): (&str, &[f32])| format!("{name} {:08x}", crc32fast::hash(bytemuck::cast_slice(data)));
    arenas.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Checkpoint {
    /// The configuration that the run had.
    pub fn config(&self) -> Result<Config> {
        toml::from_str(&self.state.config).map_err(|e| Error::Config(format!("the checkpoint's configuration: {}", e.message())))
    }

    /// An arena, or an error that names it and its length.
    pub fn arena(&self, name: &str, elements: usize) -> Result<&[f32]> {
        match self.arenas.get(name) {
            Some(a) if a.len() == elements => Ok(a),
            Some(a) => Err(Error::Data(format!("the checkpoint's `{name}` has {} elements and the model {elements}", a.len()))),
            None => Err(Error::Data(format!("the checkpoint has no `{name}`"))),
        }
    }

    /// The network that the run trains, and its parameters by AlphaFold's names: averaged, or as they are.
    pub fn parameters(&self, path: &Path, averaged: bool) -> Result<(Sizes, Tensors)> {
        let sizes = self.config()?.trained()?;
        let params = Network::parameters(&sizes);
        self.check_layout(path, layout(&params))?;
        let tensors = params.unpack(self.arena(if averaged { "ema" } else { "parameters" }, params.len())?);
        Ok((sizes, tensors))
    }

    fn check_layout(&self, path: &Path, layout: u32) -> Result<()> {
        match layout == self.state.layout {
            true => Ok(()),
            false => Err(Error::format(path, "its parameters lie in another order: it was written by another version of this program")),
        }
    }

    /// What of the kernels that ran differs from those of an adapter, in words.
    pub fn other_kernels(&self, now: &Traits) -> Option<String> {
        let tree = |t: &Traits| serde_json::to_value(t).expect("traits are JSON");
        let (then, now) = (tree(&self.state.kernels), tree(now));
        let of = |(name, was): (&String, &serde_json::Value)| {
            let is = &now[name];
            // How large bindings and buffers may be decides where work is cut, and no bit.
            let decides = was != is && !["max_binding", "max_buffer"].contains(&name.as_str());
            decides.then(|| format!("`{name}` was {was} and is {is}"))
        };
        let all: Vec<String> = then.as_object().into_iter().flatten().filter_map(of).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Refuses a checkpoint of another configuration or of another layout of parameters.
    pub fn check(&self, path: &Path, config: &Config, layout: u32) -> Result<()> {
        let then = self.config()?;
        if then.model != config.model {
            return Err(Error::format(
                path,
                format!(
                    "a checkpoint of the model `{}` {}, and the run is of `{}` {}",
                    then.model.preset, then.model.overrides, config.model.preset, config.model.overrides
                ),
            ));
        }
        config.check_resumes(&then).map_err(|e| Error::format(path, e.to_string()))?;
        self.check_layout(path, layout)
    }
}

/// The checkpoints of a run: `step-00000123.ckpt`, …; the newest few and the best.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    keep: usize,
}

impl Folder {
    /// The folder as it is, for those who only read it.
    pub fn at(path: &Path, keep: usize) -> Self {
        Self { path: path.to_path_buf(), keep }
    }

    /// The file of a step's checkpoint.
    pub fn file(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step:08}.ckpt"))
    }

    /// The folder, made if it is not there; what an interrupted write left is removed.
    pub fn open(path: &Path, keep: usize) -> Result<Self> {
        let folder = Self::at(path, keep);
        folder.tidy()?;
        Ok(folder)
    }

    /// Makes the folder if it is not there, and removes what an interrupted write left in it.
    pub fn tidy(&self) -> Result<()> {
        let path = &self.path;
        std::fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".unfinished-") {
                std::fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
            }
        }
        Ok(())
    }

    /// Steps of which there is a checkpoint, and their files, oldest first.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(|e| Error::io(&self.path, e))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let step = name.strip_prefix("step-").and_then(|n| n.strip_suffix(".ckpt")).and_then(|n| n.parse().ok());
            all.extend(step.map(|step| (step, entry.path())));
        }
        all.sort();
        Ok(all)
    }

    /// The newest checkpoint. One that is damaged is an error that names the one before it: going back is the user's decision.
    pub fn latest(&self) -> Result<Option<(PathBuf, Checkpoint)>> {
        let all = self.list()?;
        let Some((_, path)) = all.last() else { return Ok(None) };
        match read(path) {
            Ok(checkpoint) => Ok(Some((path.clone(), checkpoint))),
            Err(Error::Format { path, line, what }) if all.len() > 1 => {
                let before = all[all.len() - 2].1.display();
                Err(Error::Format { path, line, what: format!("{what} (remove this file to go on from {before})") })
            }
            Err(e) => Err(e),
        }
    }

    /// Writes the checkpoint of a step, then removes those that are neither new nor the best.
    pub fn save(&self, state: &State, arenas: &[(&str, &[f32])]) -> Result<PathBuf> {
        let path = self.file(state.step);
        write(&path, state, arenas)?;
        let mut old = self.list()?;
        old.truncate(old.len().saturating_sub(self.keep));
        let best = self.best()?.map(|(path, _)| path);
        for (_, path) in old.into_iter().filter(|(_, path)| Some(path) != best.as_ref()) {
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
        Ok(path)
    }

    /// The checkpoint with the highest score, the newest of equals; files that cannot be read do not count.
    pub fn best(&self) -> Result<Option<(PathBuf, f64)>> {
        let scored = self.list()?.into_iter().filter_map(|(_, path)| {
            let score = read_state(&path).ok()?.score?;
            Some((path, score))
        });
        Ok(scored.max_by(|a, b| a.1.total_cmp(&b.1)))
    }
}
