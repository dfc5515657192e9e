//! Zip archives, read only: the directory at the end, entries that are stored or deflated, 64-bit sizes.
//!
//! Our own, because the crate that writes them takes memory for as many entries as a header claims, of which a file of 150 bytes may claim any
//! number. Here everything is checked against the bytes that are there: no entry outside of them, none that is larger than it says, and all of
//! them together no larger than deflate could have packed.

use std::io::Read;

use flate2::read::DeflateDecoder;

/// Bytes that deflate packs into one, at most.
const MOST_PACKED: u64 = 1032;
/// What archives of stored entries may hold beyond that, for very small ones.
const LEAST_ROOM: u64 = 1 << 16;
/// Shortest record of the directory.
const RECORD: usize = 46;

/// One entry as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name; a path only for those who make one of it.
    pub name: String,
    packed: &'a [u8],
    method: u16,
    size: u64,
    crc32: u32,
}

/// A zip archive in memory.
#[derive(Debug)]
pub struct Archive<'a> {
    /// Its entries, in the directory's order.
    pub entries: Vec<Entry<'a>>,
    /// Bytes that may still be unpacked.
    room: u64,
}

/// Little-endian numbers at places that may lie outside.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(self, at: usize) -> Result<[u8; N], String> {
        self.0.get(at..).and_then(|b| b.first_chunk()).copied().ok_or_else(|| format!("it ends before byte {at}"))
    }

    fn u16(self, at: usize) -> Result<usize, String> {
        Ok(usize::from(u16::from_le_bytes(self.array(at)?)))
    }

    fn u32(self, at: usize) -> Result<u64, String> {
        Ok(u64::from(u32::from_le_bytes(self.array(at)?)))
    }

    fn u64(self, at: usize) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    fn part(self, start: u64, length: u64) -> Result<&'a [u8], String> {
        let range = usize::try_from(start).ok().zip(usize::try_from(length).ok()).and_then(|(s, n)| Some(s..s.checked_add(n)?));
        range.and_then(|r| self.0.get(r)).ok_or_else(|| format!("{length} bytes from byte {start} on lie outside of it"))
    }
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let all = Bytes(bytes);
        let (count, start) = directory(all)?;
        if count > (bytes.len() / RECORD) as u64 {
            return Err(format!("its directory claims {count} entries, more than fit into {} bytes", bytes.len()));
        }
        let mut at = usize::try_from(start).map_err(|_| "its directory lies outside of it".to_owned())?;
        let mut entries = Vec::with_capacity(count as usize);
        for k in 0..count {
            let (entry, next) = record(all, at).map_err(|what| format!("entry {}: {what}", k + 1))?;
            entries.push(entry);
            at = next;
        }
        Ok(Self { entries, room: (bytes.len() as u64).saturating_mul(MOST_PACKED).saturating_add(LEAST_ROOM) })
    }

    /// The bytes of entry `i`.
    pub fn unpack(&mut self, i: usize) -> Result<Vec<u8>, String> {
        let entry = &self.entries[i];
        self.room =
            self.room.checked_sub(entry.size).ok_or("the archive's entries overlap: together they are larger than its bytes can hold")?;
        let mut content = Vec::with_capacity(entry.size as usize);
        match entry.method {
            0 => content.extend_from_slice(entry.packed),
            8 => {
                let mut unpacked = DeflateDecoder::new(entry.packed).take(entry.size.saturating_add(1));
                unpacked.read_to_end(&mut content).map_err(|e| format!("damaged: {e}"))?;
            }
            other => return Err(format!("it is packed by method {other}; stored and deflated entries are read here")),
        }
        match content.len() as u64 == entry.size && crc32fast::hash(&content) == entry.crc32 {
            true => Ok(content),
            false => Err("damaged: its size or checksum is not what the directory says".into()),
        }
    }
}

/// Entries and the first byte of the directory.
fn directory(all: Bytes) -> Result<(u64, u64), String> {
    // The end record is 22 bytes and a comment that ends the file.
    let last = all.0.len().checked_sub(22).ok_or("it is too short for an archive")?;
    let is_end = |&at: &usize| all.0[at..].starts_with(b"PK\x05\x06") && all.u16(at + 20) == Ok(all.0.len() - at - 22);
    let end = (last.saturating_sub(0xffff)..=last).rev().find(is_end).ok_or("it has no end record: it is no archive, or cut off")?;
    let (count, start) = (all.u16(end + 10)? as u64, all.u32(end + 16)?);
    let locator = end.checked_sub(20).filter(|&at| all.0[at..].starts_with(b"PK\x06\x07"));
    let Some(locator) = locator.filter(|_| count == 0xffff || start == 0xffff_ffff) else { return Ok((count, start)) };
    let large = all.part(all.u64(locator + 8)?, 56)?;
    match large.starts_with(b"PK\x06\x06") {
        true => Ok((Bytes(large).u64(32)?, Bytes(large).u64(48)?)),
        false => Err("its 64-bit end record is not where it should be".into()),
    }
}

/// The directory's record at a place, and the place of the next.
fn record<'a>(all: Bytes<'a>, at: usize) -> Result<(Entry<'a>, usize), String> {
    let fixed = Bytes(all.part(at as u64, RECORD as u64)?);
    if !fixed.0.starts_with(b"PK\x01\x02") {
        return Err("no record of the directory".into());
    }
    if fixed.u16(8)? & 1 == 1 {
        return Err("it is encrypted".into());
    }
    let (name_length, extra_length, comment_length) = (fixed.u16(28)?, fixed.u16(30)?, fixed.u16(32)?);
    let name = String::from_utf8_lossy(all.part((at + RECORD) as u64, name_length as u64)?).into_owned();
    let extra = Bytes(all.part((at + RECORD + name_length) as u64, extra_length as u64)?);
    let mut sizes = [fixed.u32(24)?, fixed.u32(20)?, fixed.u32(42)?];
    large_sizes(extra, &mut sizes)?;
    let [size, packed_size, local] = sizes;
    let header = Bytes(all.part(local, 30)?);
    if !header.0.starts_with(b"PK\x03\x04") {
        return Err(format!("`{name}` is not where the directory says"));
    }
    let data = local + 30 + header.u16(26)? as u64 + header.u16(28)? as u64;
    let packed = all.part(data, packed_size)?;
    if size > (packed.len() as u64).saturating_mul(MOST_PACKED).saturating_add(LEAST_ROOM) {
        return Err(format!("`{name}` claims {size} bytes of {} packed ones", packed.len()));
    }
    let entry = Entry { name, packed, method: fixed.u16(10)? as u16, size, crc32: fixed.u32(16)? as u32 };
    Ok((entry, at + RECORD + name_length + extra_length + comment_length))
}

/// Replaces numbers that are too large for 32 bits by those of the extra field with the id 1, which has them in this order.
fn large_sizes(extra: Bytes, sizes: &mut [u64; 3]) -> Result<(), String> {
    let mut at = 0;
    while at + 4 <= extra.0.len() {
        let (id, length) = (extra.u16(at)?, extra.u16(at + 2)?);
        if id == 1 {
            let field = Bytes(extra.part((at + 4) as u64, length as u64)?);
            for (k, size) in sizes.iter_mut().filter(|s| **s == 0xffff_ffff).enumerate() {
                *size = field.u64(8 * k)?;
            }
            return Ok(());
        }
        at += 4 + length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(large: bool) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, method) in [("stored", zip::CompressionMethod::Stored), ("a/packed", zip::CompressionMethod::Deflated)] {
            let options = zip::write::SimpleFileOptions::DEFAULT.large_file(large).compression_method(method);
            zip.start_file(name, options).unwrap();
            zip.write_all(&name.repeat(100).into_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn what_another_program_writes_is_read() {
        for large in [false, true] {
            let bytes = written(large);
            let mut archive = Archive::new(&bytes).unwrap();
            let names: Vec<String> = archive.entries.iter().map(|e| e.name.clone()).collect();
            assert_eq!(names, ["stored", "a/packed"]);
            assert_eq!(archive.unpack(0).unwrap(), "stored".repeat(100).into_bytes());
            assert_eq!(archive.unpack(1).unwrap(), "a/packed".repeat(100).into_bytes());
            // Any cut is noticed, and any changed byte of the content.
            for n in 0..bytes.len() {
                assert!(Archive::new(&bytes[..n]).is_err(), "cut to {n}");
            }
            let mut damaged = bytes.clone();
            let at = bytes.windows(6).position(|w| w == b"stored").unwrap();
            damaged[at + 60] ^= 1;
            assert!(Archive::new(&damaged).unwrap().unpack(0).unwrap_err().contains("checksum"));
        }
    }

    #[test]
    fn entries_that_share_their_bytes_are_refused_in_time() {
        // A directory of many records for one entry: unpacked they would be the square of the file's size.
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("x", zip::write::SimpleFileOptions::DEFAULT.compression_method(zip::CompressionMethod::Deflated)).unwrap();
        zip.write_all(&vec![0; 1 << 20]).unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        let end = bytes.len() - 22;
        let start = u32::from_le_bytes(bytes[end + 16..end + 20].try_into().unwrap()) as usize;
        let mut many = bytes[..start].to_vec();
        (0..1000).for_each(|_| many.extend_from_slice(&bytes[start..end]));
        let mut tail = bytes[end..].to_vec();
        [8, 10].iter().for_each(|&at| tail[at..at + 2].copy_from_slice(&1000u16.to_le_bytes()));
        many.extend(tail);
        let mut archive = Archive::new(&many).unwrap();
        let failed = (0..1000).find_map(|i| archive.unpack(i).err()).unwrap();
        assert!(failed.contains("overlap"), "{failed}");
    }

    /// Found by fuzzing: 145 bytes that claim 36,352 entries, for which the crate took 8 MB; with 64-bit numbers it would have been any amount.
    #[test]
    fn a_claim_of_many_entries_takes_no_memory() {
        let mut bytes = b"PK\x03\x04-\0\0\0PK\x01\x02-\x03-\0".to_vec();
        bytes.resize(115, 0);
        bytes.extend(b"PK\x05\x06\0\0\0\0\0\0\x00\x8e\0\0\x01\0\xcf\x0c\0\0\0\0");
        assert!(Archive::new(&bytes).unwrap_err().contains("claims 36352 entries"));
    }
}
