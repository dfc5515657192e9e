// Pairs of neighbours, as they are and brought to unit length: y = x / sqrt(max(x0^2 + x1^2, eps)).
#storage x
#storage y
#storage pairs
#storage dy
#storage dpairs
#storage dx
struct Params { rows: u32, count: u32, groups: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;

fn norm(v: vec2<f32>) -> f32 { return sqrt(max(dot(v, v), p.eps)); }

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    for (var k = 0u; k < p.count; k++) {
        let at = i * p.groups * 4u + 2u * k;
        let v = vec2<f32>(x_ld(at), x_ld(at + 1u));
        y_st4(i * p.count + k, vec4<f32>(v / norm(v), 0.0, 0.0));
        pairs_st4(i * p.count + k, vec4<f32>(v, 0.0, 0.0));
    }
}

// dx = dpairs + (dy - y <y, dy>) / |x|, and dpairs + dy / sqrt(eps) where eps is larger
fn pair_back(i: u32, k: u32) -> vec2<f32> {
    if k >= p.count { return vec2<f32>(0.0); }
    let at = i * p.groups * 4u + 2u * k;
    let v = vec2<f32>(x_ld(at), x_ld(at + 1u));
    let y = v / norm(v);
    let d = dy_ld4(i * p.count + k).xy;
    let radial = select(0.0, dot(y, d), dot(v, v) > p.eps);
    return dpairs_ld4(i * p.count + k).xy + (d - y * radial) / norm(v);
}

@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    for (var g = 0u; g < p.groups; g++) {
        dx_st4(i * p.groups + g, vec4<f32>(pair_back(i, 2u * g), pair_back(i, 2u * g + 1u)));
    }
}
