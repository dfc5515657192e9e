// Per residue i: 1 when sum_{a,j,b} m (e(alternative) - e(given)) < 0 with e = sqrt(1e-10 + (|dx| - |dx of the truth|)^2) and m = 1 for
// ambiguous atoms a of i against unambiguous atoms b of any residue j, both known
#import reduce
#storage pred
#storage gt
#storage alt
#storage ambiguous
#storage exists
#storage y
struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
const ATOMS = 14u;
const PITCH = 16u;

fn distance_eps(d: vec3<f32>) -> f32 { return sqrt(1e-10 + dot(d, d)); }
fn error(a: f32, b: f32) -> f32 { return sqrt(1e-10 + (a - b) * (a - b)); }

// One lane's residues of the sum for residue i.
fn lane_sum(i: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var a = 0u; a < ATOMS; a++) {
        let w = ambiguous_ld(i * PITCH + a) * exists_ld(i * PITCH + a);
        if w == 0.0 { continue; }
        let o = i * ATOMS + a;
        for (var j = lane; j < p.rows; j += 64u) {
            for (var b = 0u; b < ATOMS; b++) {
                let m = w * exists_ld(j * PITCH + b) * (1.0 - ambiguous_ld(j * PITCH + b));
                if m == 0.0 { continue; }
                let q = j * ATOMS + b;
                let d = distance_eps(pred_ld4(o).xyz - pred_ld4(q).xyz);
                let given = error(d, distance_eps(gt_ld4(o).xyz - gt_ld4(q).xyz));
                let other = error(d, distance_eps(alt_ld4(o).xyz - alt_ld4(q).xyz));
                sum += m * (other - given);
            }
        }
    }
    return sum;
}

// One workgroup per four residues, which are one group of the result.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg).x;
    var better = vec4<f32>(0.0);
    for (var r = 0u; r < 4u; r++) {
        let i = at * 4u + r;
        var sum = 0.0;
        if i < p.rows { sum = lane_sum(i, lane); }
        if sum_of_group(lane, vec4<f32>(sum)).x < 0.0 { better[r] = 1.0; }
    }
    if lane == 0u { y_st4(at, better); }
}
