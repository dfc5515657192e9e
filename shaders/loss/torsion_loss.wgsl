// chi = sum_{l,i,k} m_ik min(|t_ik - a|^2, |s_ik t_ik - a|^2) / (L sum m + 1e-10) with t = (sin, cos) of the true chi and s = -1 where it may be
// turned by pi; norm = sum_{l,i,t} m_i | |u| - 1 | / (7 L sum m_i + 1e-10) with |u| = sqrt(|u|^2 + 1e-6)
#import reduce
#storage angles
#storage raw
#storage chi
#storage chi_mask
#storage seq_mask
#storage aatype i32
#storage periodic
#storage part
#storage y
#storage norm
#storage stats
#storage dy
#storage dnorm
#storage dangles
#storage draw
struct Params { layers: u32, residues: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// The true (sin, cos) that is nearer to the prediction a; the given one when both are equally near.
fn nearer(angle: f32, periodic: f32, a: vec2<f32>) -> vec2<f32> {
    let t = vec2<f32>(sin(angle), cos(angle));
    let other = t * (1.0 - 2.0 * periodic);
    return select(t, other, dot(other - a, other - a) < dot(t - a, t - a));
}
fn length_of(u: vec2<f32>) -> f32 { return sqrt(dot(u, u) + 1e-6); }

// One invocation per layer and residue; a workgroup's sums are chi errors, norm errors and what both are divided by.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = grid(wg).x;
    let row = group * 64u + lane;
    var v = vec4<f32>(0.0);
    if row < p.layers * p.residues {
        let i = row % p.residues;
        let m = chi_mask_ld4(i);
        let angle = chi_ld4(i);
        let periodic = periodic_ld4(u32(aatype_ld(i)));
        for (var k = 0u; k < 4u; k++) {
            let a = angles_ld4(row * 7u + 3u + k).xy;
            let d = nearer(angle[k], periodic[k], a) - a;
            v.x += m[k] * dot(d, d);
            v.z += m[k];
        }
        for (var k = 0u; k < 7u; k++) { v.y += abs(length_of(raw_ld4(row * 7u + k).xy) - 1.0); }
        let s = seq_mask_ld(i);
        v = vec4<f32>(v.x, v.y * s, v.z, 7.0 * s);
    }
    v = sum_of_group(lane, v);
    if lane == 0u { part_st4(group, v); }
}

// One workgroup.
@compute @workgroup_size(64)
fn finish(@builtin(local_invocation_index) lane: u32) {
    var v = vec4<f32>(0.0);
    for (var i = lane; i < p.parts; i += 64u) { v += part_ld4(i); }
    v = sum_of_group(lane, v);
    if lane == 0u {
        let inverse = 1.0 / (v.zw + 1e-10);
        y_st4(0u, vec4<f32>(v.x * inverse.x, 0.0, 0.0, 0.0));
        norm_st4(0u, vec4<f32>(v.y * inverse.y, 0.0, 0.0, 0.0));
        stats_st4(0u, vec4<f32>(inverse, 0.0, 0.0));
    }
}

// da = -2 m (t - a) / (L sum m + 1e-10) for the nearer t; the three backbone torsions have none
@compute @workgroup_size(64)
fn backward_angles(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = grid(wg).x * 64u + lane;
    if row >= p.layers * p.residues { return; }
    let i = row % p.residues;
    let m = chi_mask_ld4(i) * (2.0 * dy_ld(0u) * stats_ld4(0u).x);
    let angle = chi_ld4(i);
    let periodic = periodic_ld4(u32(aatype_ld(i)));
    for (var k = 0u; k < 3u; k++) { dangles_st4(row * 7u + k, vec4<f32>(0.0)); }
    for (var k = 0u; k < 4u; k++) {
        let a = angles_ld4(row * 7u + 3u + k).xy;
        dangles_st4(row * 7u + 3u + k, vec4<f32>(m[k] * (a - nearer(angle[k], periodic[k], a)), 0.0, 0.0));
    }
}

// du = m sign(|u| - 1) u / |u| / (7 L sum m + 1e-10)
@compute @workgroup_size(64)
fn backward_norm(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = grid(wg).x * 64u + lane;
    if row >= p.layers * p.residues { return; }
    let m = seq_mask_ld(row % p.residues) * dnorm_ld(0u) * stats_ld4(0u).y;
    for (var k = 0u; k < 7u; k++) {
        let u = raw_ld4(row * 7u + k).xy;
        let e = length_of(u);
        draw_st4(row * 7u + k, vec4<f32>(u * (m * sign(e - 1.0) / e), 0.0, 0.0));
    }
}
