//! An alignment in integers: what an example keeps of its searches.

use std::collections::HashSet;

use crate::data::alphabet;
use crate::error::{Error, Result};
use crate::io::msa::Msa;

/// More rows than this are left off at the end: cluster counts are kept in 16 bits. AlphaFold's own limits keep 10,000 + 5,000 rows besides BFD's.
pub const MAX_ROWS: usize = u16::MAX as usize;

/// Rows of residue types and their deletion counts. Row 0 is the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alignment {
    /// Columns: residues of the query.
    pub n_res: usize,
    /// Our residue types 0..=21, row-major `[n_seq, n_res]`.
    pub rows: Vec<u8>,
    /// Residues deleted before each column.
    pub deletions: Deletions,
}

/// Deletion counts by row, only those above zero: most are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletions {
    /// `n_seq + 1` ends into `items`.
    pub offsets: Vec<u32>,
    /// (column, count).
    pub items: Vec<(u16, u16)>,
}

impl Default for Deletions {
    fn default() -> Self {
        Self { offsets: vec![0], items: Vec::new() }
    }
}

impl Deletions {
    /// Adds a row given densely.
    pub fn push_dense(&mut self, row: &[u16]) {
        self.items.extend(row.iter().enumerate().filter(|(_, c)| **c > 0).map(|(i, c)| (i as u16, *c)));
        self.offsets.push(self.items.len() as u32);
    }

    /// The counts above zero of row `i`.
    pub fn row(&self, i: usize) -> &[(u16, u16)] {
        &self.items[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Row `i` in the columns `start..start + out.len()`, densely; `out` must hold zeros.
    pub fn fill(&self, i: usize, start: usize, out: &mut [u16]) {
        for &(column, count) in self.row(i) {
            if let Some(slot) = usize::from(column).checked_sub(start).and_then(|c| out.get_mut(c)) {
                *slot = count;
            }
        }
    }
}

impl Alignment {
    /// Number of rows.
    pub fn n_seq(&self) -> usize {
        self.deletions.offsets.len() - 1
    }

    /// Types of row `i`.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.rows[i * self.n_res..][..self.n_res]
    }

    /// An alignment of the query alone.
    pub fn of_query(sequence: &[u8]) -> Result<Self> {
        let msa =
            Msa { width: sequence.len(), names: vec!["query".into()], letters: sequence.to_vec(), deletions: vec![0; sequence.len()] };
        Ok(Self::stack(&[msa])?.0)
    }

    /// Stacks alignments in the given order and drops rows whose letters repeat an earlier row's (QUIRKS 55: the first one's deletions stay).
    /// Also gives, for each row kept, its alignment and its row there.
    pub fn stack(msas: &[Msa]) -> Result<(Self, Vec<(usize, usize)>)> {
        let first =
            msas.first().filter(|m| m.n_seq() > 0).ok_or_else(|| Error::Data("no alignment: at least the query is needed".into()))?;
        let n_res = first.width;
        if n_res > usize::from(u16::MAX) {
            return Err(Error::Data(format!("`{}` has {n_res} residues; 65,535 are the most", first.names[0])));
        }
        let mut all = Self { n_res, ..Self::default() };
        let mut kept = Vec::new();
        let mut seen: HashSet<&[u8]> = HashSet::new();
        for (m, msa) in msas.iter().enumerate() {
            if msa.n_seq() == 0 || msa.width != n_res {
                return Err(Error::Data(format!("alignment {} has {} columns and the query {n_res}", m + 1, msa.width)));
            }
            for i in 0..msa.n_seq() {
                if kept.len() == MAX_ROWS || !seen.insert(msa.row(i)) {
                    continue;
                }
                for &letter in msa.row(i) {
                    let kind = alphabet::aligned(letter).ok_or_else(|| {
                        Error::Data(format!("row `{}` holds {}, which is no residue", msa.names[i], crate::io::text::show(letter)))
                    })?;
                    all.rows.push(kind);
                }
                all.deletions.push_dense(msa.row_deletions(i));
                kept.push((m, i));
            }
        }
        if kept.len() == MAX_ROWS {
            tracing::warn!("`{}`: rows after the first {MAX_ROWS} are left out", first.names[0]);
        }
        Ok((all, kept))
    }

    /// The rows `which`, in that order.
    pub fn select(&self, which: &[u32]) -> Self {
        let mut part = Self { n_res: self.n_res, rows: Vec::with_capacity(which.len() * self.n_res), ..Self::default() };
        for &i in which {
            part.rows.extend_from_slice(self.row(i as usize));
            part.deletions.items.extend_from_slice(self.deletions.row(i as usize));
            part.deletions.offsets.push(part.deletions.items.len() as u32);
        }
        part
    }
}
