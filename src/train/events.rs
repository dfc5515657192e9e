//! TensorBoard event files: scalars, in the record format of TensorFlow.
//!
//! A record is its length (u64), the masked CRC-32C of the length, the bytes, and the masked CRC-32C of the bytes, all little-endian; the
//! bytes are an `Event` message: 1 wall time (double), 2 step (int64), 3 file version (string), 5 summary {1 value {1 tag, 2 simple value}}.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// An event file that is being written.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

impl Events {
    /// A new file in `folder`: TensorBoard reads all files of a folder as one run.
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let began = now();
        let path = folder.join(format!("events.out.tfevents.{:010}.anyfold.{}", began as u64, std::process::id()));
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        let mut events = Self { path, file };
        let version = [&double(1, began)[..], &bytes(3, b"brain.Event:2")].concat();
        events.record(&version)?;
        Ok(events)
    }

    /// Writes scalars of a step. Values that are not finite are left out, for TensorBoard cannot draw them.
    pub fn scalars<'a>(&mut self, step: u64, values: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let value = |(tag, v): (&str, f64)| bytes(1, &[bytes(1, tag.as_bytes()), float(2, v as f32)].concat());
        let summary: Vec<u8> = values.into_iter().filter(|(_, v)| v.is_finite()).flat_map(value).collect();
        let event = [double(1, now()), tagged(2, 0, step), bytes(5, &summary)].concat();
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut all = length.to_vec();
        all.extend(masked(&length).to_le_bytes());
        all.extend(data);
        all.extend(masked(data).to_le_bytes());
        self.file.write_all(&all).map_err(|e| Error::io(&self.path, e))
    }
}

fn varint(mut v: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
    out
}

/// A field's key (number and wire type) and an integer: the value itself, or a length.
fn tagged(field: u64, wire: u64, v: u64) -> Vec<u8> {
    [varint(field << 3 | wire), varint(v)].concat()
}

fn bytes(field: u64, data: &[u8]) -> Vec<u8> {
    [&tagged(field, 2, data.len() as u64)[..], data].concat()
}

fn double(field: u64, v: f64) -> Vec<u8> {
    [&varint(field << 3 | 1)[..], &v.to_le_bytes()].concat()
}

fn float(field: u64, v: f32) -> Vec<u8> {
    [&varint(field << 3 | 5)[..], &v.to_le_bytes()].concat()
}

/// CRC-32C (Castagnoli), bit by bit: a record is a few hundred bytes a step.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !data.iter().fold(!0u32, |crc, &b| (0..8).fold(crc ^ u32::from(b), step))
}

/// As the record format stores it: checksums of data that hold checksums would be weak.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // RFC 3720, B.4: 32 zeros, 32 ones, 32 ascending bytes; and the customary check value.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn messages_are_those_of_the_protobuf_encoding() {
        // From the encoding's documentation: field 1 = 150 is 08 96 01; field 2 = "testing" is 12 07 and the letters.
        assert_eq!(tagged(1, 0, 150), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(2, b"testing"), b"\x12\x07testing");
    }
}
