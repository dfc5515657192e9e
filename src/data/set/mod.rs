//! A data set on disk: a folder with `index.json` and shards `part-00000.bin`, …, which are memory-mapped.
//!
//! The index is the truth: it names, for every chain, the shard, the bytes and their checksum. A shard is never changed once written, so a set
//! can grow while a training reads it; bytes that no entry names are left from chains replaced since. Each entry is a safetensors document
//! (see [`codec`]).

pub mod codec;
pub mod index;
pub mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::data::example::Example;
use crate::error::{Error, Result};
use index::{Entry, Index};

/// An open set.
#[derive(Debug)]
pub struct Set {
    folder: PathBuf,
    index: Index,
    shards: Vec<Mmap>,
}

impl Set {
    /// Opens a set and maps its shards, checking that every entry lies within its shard.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let index = Index::read(folder)?.ok_or_else(|| {
            Error::format(folder, format!("no data set here (no `{}`); `anyfold data prepare DIR --out SET` makes one", index::FILE))
        })?;
        let mut shards = Vec::new();
        for name in &index.shards {
            let path = folder.join(name);
            let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
            // SAFETY: shards are written once under a temporary name and never changed after; the mapping is read-only.
            shards.push(unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&path, e))?);
        }
        for entry in &index.entries {
            let held = shards.get(entry.shard).map_or(0, |s| s.len() as u64);
            if entry.offset.checked_add(entry.bytes).is_none_or(|end| end > held) {
                return Err(Error::format(folder.join(index::FILE), format!("`{}` lies outside its shard, which is cut off", entry.id)));
            }
        }
        Ok(Self { folder: folder.to_path_buf(), index, shards })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its chains, in the order of their ids.
    pub fn entries(&self) -> &[Entry] {
        &self.index.entries
    }

    /// What could not be used, and why.
    pub fn skipped(&self) -> &[index::Skipped] {
        &self.index.skipped
    }

    /// The place of a chain among the entries.
    pub fn find(&self, id: &str) -> Result<usize> {
        self.index.entries.binary_search_by(|e| e.id.as_str().cmp(id)).map_err(|_| {
            let near: Vec<_> = self.index.entries.iter().filter(|e| e.id.eq_ignore_ascii_case(id)).map(|e| e.id.as_str()).collect();
            let hint =
                if near.is_empty() { "`anyfold data inspect` lists them".to_owned() } else { format!("it has `{}`", near.join("`, `")) };
            Error::Data(format!("{} has no chain `{id}`; {hint}", self.folder.display()))
        })
    }

    /// Reads chain number `i`, checking its checksum.
    pub fn example(&self, i: usize) -> Result<Example> {
        let entry = &self.index.entries[i];
        let bytes = &self.shards[entry.shard][entry.offset as usize..(entry.offset + entry.bytes) as usize];
        let path = self.folder.join(&self.index.shards[entry.shard]);
        if crc32fast::hash(bytes) != entry.crc32 {
            return Err(Error::format(
                &path,
                format!("the checksum of `{}` is wrong: the shard is damaged; prepare the set anew", entry.id),
            ));
        }
        codec::decode(bytes, entry).map_err(|what| Error::format(&path, format!("`{}`: {what}", entry.id)))
    }
}
