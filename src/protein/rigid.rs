//! Rigid transformations and quaternions in double precision: AlphaFold's `r3` and `quat_affine`, with their epsilons.
//!
//! A rigid maps local to global coordinates, x -> R x + t. Lengths are in Angstrom; quaternions are (w, x, y, z).

use glam::{DMat3, DQuat, DVec3};

/// A rotation and a translation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rigid {
    /// The rotation (not checked: AlphaFold's epsilons leave degenerate frames shorter than 1).
    pub rot: DMat3,
    /// The translation.
    pub trans: DVec3,
}

/// `v / sqrt(|v|^2 + 1e-8)`, AlphaFold's normalisation, which leaves a zero vector at zero.
pub fn robust_normalize(v: DVec3) -> DVec3 {
    v / (v.length_squared() + 1e-8).sqrt()
}

impl Rigid {
    /// The identity.
    pub const IDENTITY: Self = Self { rot: DMat3::IDENTITY, trans: DVec3::ZERO };

    /// Algorithm 21 Rigid from 3 points, by Gram-Schmidt, in the form of AlphaFold's `rigids_from_3_points`: the x axis runs from
    /// `neg_x` to `origin`, `xy` lies in the xy plane at positive y.
    pub fn from_3_points(neg_x: DVec3, origin: DVec3, xy: DVec3) -> Self {
        let e0 = robust_normalize(origin - neg_x);
        let v = xy - origin;
        let e1 = robust_normalize(v - v.dot(e0) * e0);
        Self { rot: DMat3::from_cols(e0, e1, e0.cross(e1)), trans: origin }
    }

    /// The frame with x along `ex`, y in the plane of `ex` and `ey`; plain normalisation, for literature geometry that is never degenerate.
    pub fn from_two_axes(ex: DVec3, ey: DVec3, trans: DVec3) -> Self {
        let x = ex.normalize();
        let y = (ey - ey.dot(x) * x).normalize();
        Self { rot: DMat3::from_cols(x, y, x.cross(y)), trans }
    }

    /// The transformation of the ideal backbone (CA at the origin, C on the x axis, N in the xy plane) onto these atoms:
    /// AlphaFold's `make_transform_from_reference`, with its 1e-20 under every root.
    pub fn from_reference(n: DVec3, ca: DVec3, c: DVec3) -> Self {
        let (n, c) = (n - ca, c - ca);
        let xy = c.x * c.x + c.y * c.y;
        // About z, into the xz plane.
        let (sin1, cos1) = (-c.y / (1e-20 + xy).sqrt(), c.x / (1e-20 + xy).sqrt());
        let about_z = DMat3::from_cols(DVec3::new(cos1, sin1, 0.0), DVec3::new(-sin1, cos1, 0.0), DVec3::Z);
        // About y, onto the x axis.
        let norm = (1e-20 + xy + c.z * c.z).sqrt();
        let (sin2, cos2) = (c.z / norm, xy.sqrt() / norm);
        let about_y = DMat3::from_cols(DVec3::new(cos2, 0.0, -sin2), DVec3::Y, DVec3::new(sin2, 0.0, cos2));
        let c_to_x = about_y * about_z;
        // About x, N into the xy plane.
        let n = c_to_x * n;
        let norm = (1e-20 + n.y * n.y + n.z * n.z).sqrt();
        let (sin3, cos3) = (-n.z / norm, n.y / norm);
        let about_x = DMat3::from_cols(DVec3::X, DVec3::new(0.0, cos3, sin3), DVec3::new(0.0, -sin3, cos3));
        Self { rot: (about_x * c_to_x).transpose(), trans: ca }
    }

    /// From nine entries of the rotation, row by row, and three of the translation.
    pub fn from_flat12(v: [f64; 12]) -> Self {
        let rot = DMat3::from_cols_array(&[v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]]).transpose();
        Self { rot, trans: DVec3::new(v[9], v[10], v[11]) }
    }

    /// Nine entries of the rotation, row by row, and three of the translation.
    pub fn flat12(&self) -> [f64; 12] {
        let r = self.rot.transpose().to_cols_array();
        [r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], self.trans.x, self.trans.y, self.trans.z]
    }

    /// R x + t.
    pub fn apply(&self, point: DVec3) -> DVec3 {
        self.rot * point + self.trans
    }

    /// R^T (x - t).
    pub fn apply_inverse(&self, point: DVec3) -> DVec3 {
        self.rot.transpose() * (point - self.trans)
    }

    /// The inverse of a proper rotation and translation: R^T, -R^T t.
    pub fn inverse(&self) -> Self {
        let rot = self.rot.transpose();
        Self { rot, trans: -(rot * self.trans) }
    }

    /// `self` after `other`: first `other`, then `self`.
    pub fn compose(&self, other: &Self) -> Self {
        Self { rot: self.rot * other.rot, trans: self.apply(other.trans) }
    }

    /// The same origin with axes turned by `rot` in the local frame.
    pub fn turned(&self, rot: DMat3) -> Self {
        Self { rot: self.rot * rot, trans: self.trans }
    }

    /// Unit quaternion (w, x, y, z) of the rotation; w is never negative, because the sign is free.
    pub fn quaternion(&self) -> [f64; 4] {
        let q = DQuat::from_mat3(&self.rot);
        let s = if q.w < 0.0 { -1.0 } else { 1.0 };
        [s * q.w, s * q.x, s * q.y, s * q.z]
    }
}

/// The rotation matrix of a quaternion (w, x, y, z), quadratic in it: a quaternion that is not of unit length scales the matrix.
pub fn quat_to_rot(q: [f64; 4]) -> DMat3 {
    let [w, x, y, z] = q;
    DMat3::from_cols(
        DVec3::new(w * w + x * x - y * y - z * z, 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)),
        DVec3::new(2.0 * (x * y - w * z), w * w - x * x + y * y - z * z, 2.0 * (y * z + w * x)),
        DVec3::new(2.0 * (x * z + w * y), 2.0 * (y * z - w * x), w * w - x * x - y * y + z * z),
    )
}

/// The product of two quaternions (w, x, y, z): the rotation `b`, then `a`.
pub fn quat_multiply(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    let (av, aw) = (DVec3::new(a[1], a[2], a[3]), a[0]);
    let (bv, bw) = (DVec3::new(b[1], b[2], b[3]), b[0]);
    let v = aw * bv + bw * av + av.cross(bv);
    [aw * bw - av.dot(bv), v.x, v.y, v.z]
}
