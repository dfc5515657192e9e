// y = f(x) for every element; `KIND` numbers the functions in the order of the enum. It is no uniform: lavapipe 22.3 builds a shader anew,
// and keeps the old one, every time it binds one that a uniform shortens by half.
#import bits
#storage x
#storage y
#storage v
#storage dy
#storage dx
override KIND: u32 = 0u;
struct Params { a: f32, b: f32, count: u32, groups: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// Which lanes of group `i` of the whole tensor are not padding.
fn valid(i: u32) -> vec4<bool> {
    if (p.width & 3u) == 0u { return vec4<bool>(true); }
    return lanes(i % p.groups, p.width) > vec4<f32>(0.0);
}

fn value(x: vec4<f32>) -> vec4<f32> {
    switch KIND {
        case 0u: { return max(x, vec4<f32>(0.0)); }
        case 1u: { return 1.0 / (1.0 + exp(-x)); }
        case 2u: { return max(x, vec4<f32>(0.0)) + log(1.0 + exp(-abs(x))); }
        case 3u: { return x * x; }
        case 4u: { return abs(x); }
        case 5u: { return p.a * x + p.b; }
        case 6u: { return sqrt(x + p.a); }
        case 7u: { return 1.0 / (x + p.a); }
        default: { return min(max(x, vec4<f32>(p.a)), vec4<f32>(p.b)); }
    }
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.count { return; }
    // A function of the padding may be infinite, so it is selected away and not multiplied.
    let inside = valid(i);
    y_st4(i, select(vec4<f32>(0.0), value(x_ld4(i)), inside));
}

// dx = dy f'(x), from x or from y, whichever is simpler: `v` is y for kinds 0, 1, 6 and 7, x for the others.
// relu [y > 0]; sigmoid y (1 - y); softplus sigmoid(x); square 2x; abs sign(x); affine a; sqrt 1 / (2y); reciprocal -y²; clip [lo < x < hi]
fn slope(v: vec4<f32>) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    switch KIND {
        case 0u: { return select(zero, one, v > zero); }
        case 1u: { return v * (1.0 - v); }
        case 2u: { return 1.0 / (1.0 + exp(-v)); }
        case 3u: { return 2.0 * v; }
        case 4u: { return sign(v); }
        case 5u: { return vec4<f32>(p.a); }
        case 6u: { return 0.5 / v; }
        case 7u: { return -v * v; }
        default: { return select(zero, one, (v > vec4<f32>(p.a)) & (v < vec4<f32>(p.b))); }
    }
}
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.count { return; }
    let inside = valid(i);
    dx_st4(i, select(vec4<f32>(0.0), dy_ld4(i) * slope(v_ld4(i)), inside));
}
