// For atoms a, b of one residue: E(a, b) = relu(lower_ab - |dx|) + relu(|dx| - upper_ab), |dx| = sqrt(1e-10 + dx^2); an atom's sum is
// sum_b E(a, b) + E(b, a)
#storage pos
#storage exists
#storage aatype i32
#storage lower
#storage upper
#storage y
#storage violation
#storage dy
#storage dpos
struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
const ATOMS = 14u;

struct Bounds { lower: vec2<f32>, upper: vec2<f32> }
// The bounds of (a, b) and of (b, a) for residue type t.
fn bounds(t: u32, a: u32, b: u32) -> Bounds {
    let ab = (t * ATOMS + a) * 16u + b;
    let ba = (t * ATOMS + b) * 16u + a;
    return Bounds(vec2<f32>(lower_ld(ab), lower_ld(ba)), vec2<f32>(upper_ld(ab), upper_ld(ba)));
}
fn distance_eps(d: vec3<f32>) -> f32 { return sqrt(1e-10 + dot(d, d)); }
fn both(i: u32, a: u32, b: u32) -> f32 { return exists_ld(i * 16u + a) * exists_ld(i * 16u + b); }

// One invocation for four atoms of a residue.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let item = grid(wg).x * 64u + lane;
    let i = item / 4u;
    if i >= p.rows { return; }
    let t = u32(aatype_ld(i));
    var sum = vec4<f32>(0.0);
    var bad = vec4<f32>(0.0);
    for (var k = 0u; k < 4u; k++) {
        let a = (item % 4u) * 4u + k;
        if a >= ATOMS { break; }
        for (var b = 0u; b < ATOMS; b++) {
            let m = both(i, a, b);
            if a == b || m == 0.0 { continue; }
            let d = vec2<f32>(distance_eps(pos_ld4(i * ATOMS + a).xyz - pos_ld4(i * ATOMS + b).xyz));
            let l = bounds(t, a, b);
            let e = max(l.lower - d, vec2<f32>(0.0)) + max(d - l.upper, vec2<f32>(0.0));
            sum[k] += m * (e.x + e.y);
            if any((d < l.lower) | (d > l.upper)) { bad[k] = max(bad[k], m); }
        }
    }
    y_st4(item, sum);
    violation_st4(item, bad);
}

// dx_a = sum_b (dy_a + dy_b) s (x_a - x_b) / |dx| with s = 1 for each distance above its bound, -1 for each below
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let item = grid(wg).x * 64u + lane;
    let i = item / 14u;
    if i >= p.rows { return; }
    let a = item % 14u;
    let t = u32(aatype_ld(i));
    var sum = vec3<f32>(0.0);
    for (var b = 0u; b < ATOMS; b++) {
        let m = both(i, a, b);
        if a == b || m == 0.0 { continue; }
        let x = pos_ld4(i * ATOMS + a).xyz - pos_ld4(i * ATOMS + b).xyz;
        let d = distance_eps(x);
        let l = bounds(t, a, b);
        let s = select(vec2<f32>(0.0), vec2<f32>(1.0), vec2<f32>(d) > l.upper) - select(vec2<f32>(0.0), vec2<f32>(1.0), vec2<f32>(d) < l.lower);
        sum += x * (m * (s.x + s.y) * (dy_ld(i * 16u + a) + dy_ld(i * 16u + b)) / d);
    }
    dpos_st4(item, vec4<f32>(sum, 0.0));
}
