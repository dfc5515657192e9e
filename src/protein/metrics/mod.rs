//! How well two structures of one protein agree, and how sound one structure is. Plain f64 on coordinates; knows no files.

pub mod compare;
pub mod lddt;
pub mod superpose;
pub mod tm;
pub mod violations;

use glam::DVec3;

/// Root mean square difference of all pairs' distances, Angstrom: no superposition needed. 0 for fewer than two points.
pub fn drmsd(predicted: &[DVec3], reference: &[DVec3]) -> f64 {
    assert_eq!(predicted.len(), reference.len(), "dRMSD of {} and {} points", predicted.len(), reference.len());
    let n = predicted.len();
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..i {
            sum += (predicted[i].distance(predicted[j]) - reference[i].distance(reference[j])).powi(2);
        }
    }
    if n < 2 { 0.0 } else { (sum / (n * (n - 1) / 2) as f64).sqrt() }
}
