//! Optimal superposition of two sets of points (Kabsch 1976) by Horn's quaternion method (1987).

use glam::{DMat3, DVec3};

use crate::protein::rigid::{Rigid, quat_to_rot};

/// The transformation that moves `mobile` onto `fixed` with the least root mean square deviation. The identity for no points.
pub fn superpose(mobile: &[DVec3], fixed: &[DVec3]) -> Rigid {
    assert_eq!(mobile.len(), fixed.len(), "superposition of {} and {} points", mobile.len(), fixed.len());
    if mobile.is_empty() {
        return Rigid::IDENTITY;
    }
    let n = mobile.len() as f64;
    let (from, to) = (mobile.iter().sum::<DVec3>() / n, fixed.iter().sum::<DVec3>() / n);
    // S[a][b] = sum of mobile_a fixed_b about the centroids; columns run over b.
    let mut s = DMat3::ZERO;
    for (m, f) in mobile.iter().zip(fixed) {
        let (m, f) = (*m - from, *f - to);
        s += DMat3::from_cols(m * f.x, m * f.y, m * f.z);
    }
    let rot = quat_to_rot(largest_eigenvector(horn_matrix(s)));
    Rigid { rot, trans: to - rot * from }
}

/// Root mean square deviation after superposition, Angstrom.
pub fn rmsd(mobile: &[DVec3], fixed: &[DVec3]) -> f64 {
    let moved = superpose(mobile, fixed);
    let sum: f64 = mobile.iter().zip(fixed).map(|(m, f)| moved.apply(*m).distance_squared(*f)).sum();
    (sum / mobile.len().max(1) as f64).sqrt()
}

fn horn_matrix(s: DMat3) -> [[f64; 4]; 4] {
    let [xx, yx, zx, xy, yy, zy, xz, yz, zz] = s.to_cols_array();
    [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ]
}

/// The eigenvector of the largest eigenvalue of a symmetric matrix, of unit length, by Jacobi rotations.
fn largest_eigenvector(mut a: [[f64; 4]; 4]) -> [f64; 4] {
    let mut v: [[f64; 4]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for _ in 0..30 {
        let off: f64 = (0..4).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j] * a[i][j]).sum();
        let scale: f64 = (0..4).map(|i| a[i][i] * a[i][i]).sum();
        if off <= 1e-28 * scale {
            break;
        }
        for p in 0..3 {
            for q in p + 1..4 {
                rotate(&mut a, &mut v, p, q);
            }
        }
    }
    let largest = (0..4).max_by(|&i, &j| a[i][i].total_cmp(&a[j][j])).expect("four eigenvalues");
    let vector: [f64; 4] = std::array::from_fn(|k| v[k][largest]);
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.map(|x| x / norm)
}

/// One Jacobi rotation that clears a[p][q].
fn rotate(a: &mut [[f64; 4]; 4], v: &mut [[f64; 4]; 4], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for row in a.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    let (row_p, row_q) = (a[p], a[q]);
    a[p] = std::array::from_fn(|k| c * row_p[k] - s * row_q[k]);
    a[q] = std::array::from_fn(|k| s * row_p[k] + c * row_q[k]);
    for row in v.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_copy_comes_back_and_a_mirror_image_does_not() {
        let points: Vec<DVec3> = (0..7).map(|i| DVec3::new((i as f64).sin() * 3.0, i as f64, (i * i) as f64 * 0.3)).collect();
        let motion = Rigid { rot: DMat3::from_axis_angle(DVec3::new(1.0, 2.0, -0.5).normalize(), 2.9), trans: DVec3::new(4.0, -7.0, 1.0) };
        let moved: Vec<DVec3> = points.iter().map(|p| motion.apply(*p)).collect();
        assert!(rmsd(&points, &moved) < 1e-12);
        assert!((superpose(&points, &moved).rot - motion.rot).to_cols_array().iter().all(|x| x.abs() < 1e-12));
        let mirrored: Vec<DVec3> = points.iter().map(|p| DVec3::new(-p.x, p.y, p.z)).collect();
        assert!(rmsd(&points, &mirrored) > 0.5);
        assert!((superpose(&points, &mirrored).rot.determinant() - 1.0).abs() < 1e-12);
    }
}
