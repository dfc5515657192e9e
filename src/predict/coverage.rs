//! How much of a target its alignment covers, and how alike its rows are: what a reader looks at before trusting a prediction.

use crate::data::alignment::Alignment;
use crate::data::alphabet::GAP;

/// Depth of an alignment over the target's residues.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coverage {
    /// Rows, the target's own included.
    pub n_seq: usize,
    /// Rows that have a residue in each column, `[n_res]`.
    pub depth: Vec<u32>,
    /// Rows in the picture.
    pub n_shown: usize,
    /// The picture, `[n_shown, n_res]`: rows from the most to the least alike, evenly picked where there are too many. 0 is a gap, otherwise
    /// one more than the row's identity to the target in per cent.
    pub picture: Vec<u8>,
}

impl Coverage {
    /// Counts an alignment; the picture has at most `most` rows.
    pub fn of(alignment: &Alignment, most: usize) -> Self {
        let (n_seq, n_res) = (alignment.n_seq(), alignment.n_res);
        let mut depth = vec![0; n_res];
        let query = alignment.row(0);
        // Identity counts the target's residues that a row repeats, over all of them, so that a fragment is not as good as a whole relative.
        let mut rows: Vec<(usize, usize)> = Vec::with_capacity(n_seq);
        for i in 0..n_seq {
            let row = alignment.row(i);
            rows.push((row.iter().zip(query).filter(|(a, b)| a == b).count(), i));
            row.iter().zip(&mut depth).for_each(|(&kind, d)| *d += u32::from(kind != GAP));
        }
        rows.sort_by_key(|&(same, i)| (usize::MAX - same, i));
        let n_shown = n_seq.min(most);
        let mut picture = Vec::with_capacity(n_shown * n_res);
        for k in 0..n_shown {
            let (same, i) = rows[k * n_seq / n_shown];
            let colour = 1 + (100 * same / n_res.max(1)) as u8;
            picture.extend(alignment.row(i).iter().map(|&kind| if kind == GAP { 0 } else { colour }));
        }
        Self { n_seq, depth, n_shown, picture }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::msa::Msa;

    #[test]
    fn rows_are_counted_and_sorted_by_likeness() {
        let rows = ["ACDE", "--DE", "ACDF"];
        let msa = Msa { width: 4, names: rows.map(String::from).to_vec(), letters: rows.concat().into_bytes(), deletions: vec![0; 12] };
        let alignment = Alignment::stack(&[msa]).unwrap().0;
        let all = Coverage::of(&alignment, 10);
        assert_eq!((all.n_seq, all.depth.as_slice(), all.n_shown), (3, &[2, 2, 3, 3][..], 3));
        assert_eq!(all.picture, [101, 101, 101, 101, 76, 76, 76, 76, 0, 0, 51, 51]);
        assert_eq!(Coverage::of(&alignment, 2).picture.len(), 8);
    }
}
