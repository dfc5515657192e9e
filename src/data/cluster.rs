//! Clustering of an alignment around sampled centres (supplement 1.2.7): nearest centre by agreement, then counts per cluster.

use crate::data::alignment::Alignment;
use crate::data::alphabet::{GAP, MASK};

/// The nearest centre of every other row (`nearest_neighbor_clusters`): the one that agrees in most positions; the first of equals.
///
/// Positions where the centre holds the mask token never agree; gaps agree only when `gaps_agree`. `centres` is `[n_clust, n_res]`, masked;
/// `others` lists rows of `alignment`.
pub fn nearest(centres: &[u8], alignment: &Alignment, others: &[u32], gaps_agree: bool) -> Vec<u32> {
    // A row never holds this value, so a centre's position that may not agree is replaced by it and equality of bytes is agreement.
    const NEVER: u8 = 0xff;
    let centres: Vec<u8> = centres.iter().map(|&t| if t == MASK || (t == GAP && !gaps_agree) { NEVER } else { t }).collect();
    let n_res = alignment.n_res;
    others
        .iter()
        .map(|&i| {
            let row = alignment.row(i as usize);
            let mut best = (0, 0);
            for (k, centre) in centres.chunks_exact(n_res).enumerate() {
                let agreement = agreement(centre, row);
                if agreement > best.0 {
                    best = (agreement, k as u32);
                }
            }
            best.1
        })
        .collect()
}

/// Number of equal bytes. Written so that the compiler makes vector code of it: 32 counters of a byte, emptied before they overflow.
fn agreement(a: &[u8], b: &[u8]) -> u32 {
    let (a_blocks, a_rest) = a.as_chunks::<32>();
    let (b_blocks, b_rest) = b.as_chunks::<32>();
    let mut total = a_rest.iter().zip(b_rest).map(|(x, y)| u32::from(x == y)).sum();
    for (a, b) in a_blocks.chunks(255).zip(b_blocks.chunks(255)) {
        let mut lanes = [0u8; 32];
        for (x, y) in a.iter().zip(b) {
            for k in 0..32 {
                lanes[k] += u8::from(x[k] == y[k]);
            }
        }
        total += lanes.iter().map(|&l| u32::from(l)).sum::<u32>();
    }
    total
}

/// What the rows of each cluster hold, its centre included, in the columns of a crop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows of each cluster, `[n_clust]`, at least 1.
    pub size: Vec<u32>,
    /// How often each of the 23 types occurs, `[n_clust, n_crop, 23]`.
    pub counts: Vec<u16>,
    /// Sums of deletion counts, `[n_clust, n_crop]`.
    pub deletions: Vec<u32>,
}

/// Counts per cluster (`summarize_clusters` before its division) in the columns `start..start + n_crop`.
///
/// `centres` is `[n_clust, n_res]`, masked; `chosen` are their rows in the alignment, whose deletions count; `others[i]` belongs to cluster
/// `assignment[i]`.
pub fn summarize(
    centres: &[u8],
    chosen: &[u32],
    alignment: &Alignment,
    others: &[u32],
    assignment: &[u32],
    crop: std::ops::Range<usize>,
) -> Summary {
    let (n_clust, n_crop) = (chosen.len(), crop.len());
    let mut summary = Summary { size: vec![1; n_clust], counts: vec![0; n_clust * n_crop * 23], deletions: vec![0; n_clust * n_crop] };
    // Cluster by cluster, so that its counts stay in the nearest cache.
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); n_clust];
    for (&row, &k) in others.iter().zip(assignment) {
        members[k as usize].push(row);
    }
    for (k, rows) in members.iter().enumerate() {
        summary.size[k] += rows.len() as u32;
        let counts = &mut summary.counts[k * n_crop * 23..][..n_crop * 23];
        let centre = &centres[k * alignment.n_res..][..alignment.n_res];
        for row in std::iter::once(centre).chain(rows.iter().map(|&r| alignment.row(r as usize))) {
            for (cell, &kind) in counts.chunks_exact_mut(23).zip(&row[crop.clone()]) {
                cell[usize::from(kind)] += 1;
            }
        }
        let deletions = &mut summary.deletions[k * n_crop..][..n_crop];
        for &row in std::iter::once(&chosen[k]).chain(rows) {
            for &(column, count) in alignment.deletions.row(row as usize) {
                if let Some(sum) = usize::from(column).checked_sub(crop.start).and_then(|c| deletions.get_mut(c)) {
                    *sum += u32::from(count);
                }
            }
        }
    }
    summary
}

/// `cluster_profile` `[n_clust, n_crop, 23]` and `cluster_deletion_mean` `[n_clust, n_crop]`: the counts over `1e-6 + size` (QUIRKS 56).
pub fn means(summary: &Summary) -> (Vec<f32>, Vec<f32>) {
    let per = |i: usize, cells: usize| 1.0 / (1e-6 + f64::from(summary.size[i / cells]));
    let n_crop = summary.deletions.len() / summary.size.len().max(1);
    let profile = summary.counts.iter().enumerate().map(|(i, &c)| (f64::from(c) * per(i, n_crop * 23)) as f32).collect();
    let deletions = summary.deletions.iter().enumerate().map(|(i, &d)| (f64::from(d) * per(i, n_crop)) as f32).collect();
    (profile, deletions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_counts_every_length() {
        for n in [0, 1, 31, 32, 33, 8159, 8160, 8161, 20_000] {
            let a: Vec<u8> = (0..n).map(|i| (i % 7) as u8).collect();
            let b: Vec<u8> = (0..n).map(|i| (i % 5) as u8).collect();
            let plain = a.iter().zip(&b).filter(|(x, y)| x == y).count() as u32;
            assert_eq!(agreement(&a, &b), plain, "length {n}");
            assert_eq!(agreement(&a, &a), n as u32);
        }
    }
}
