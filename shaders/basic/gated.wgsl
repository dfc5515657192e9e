// y = residual + dropout(mask * x * sigmoid(gate)), the mask of a row repeated over its channels. Strides count groups of four; what is not
// there is 1, and a residual 0. The residual lies as y does.
#import bits
#import gate
#import philox
#storage x
#storage gate
#storage mask
#storage y
#storage dy
#storage dx
#storage dgate
#storage residual
#storage seed i32
#storage right
#import dropout
struct Params {
    n_i: u32, n_j: u32, groups: u32, log: u32, gated: u32, masked: u32, plus: u32,
    x0: u32, x1: u32, g0: u32, g1: u32, m0: u32, m1: u32, part: u32, width: u32, half: u32, y0: u32, y1: u32, r0: u32, r1: u32,
    dx0: u32, dx1: u32, dg0: u32, dg1: u32,
    share: u32, run: u32, threshold: u32, kept: f32, key_lo: u32, key_hi: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

struct Place { i: u32, j: u32, g: u32 }
// The row of an invocation, and its first group: `2^log` invocations share a row.
fn place(wg: vec3<u32>, lane: u32) -> Place {
    let at = grid(wg);
    return Place(at.y, at.x * (64u >> p.log) + (lane >> p.log), lane & ((1u << p.log) - 1u));
}
fn kept(at: Place) -> f32 {
    if p.masked == 0u { return 1.0; }
    return mask_ld(at.i * p.m0 + at.j / p.part * p.m1 + at.j % p.part);
}
// Where group `g` of a row of y lies.
fn y_place(at: Place, g: u32) -> u32 { return at.i * p.y0 + at.j * p.y1 + g; }

// x is zero in the padding, and so is y.
fn value(at: Place, g: u32, m: f32) -> vec4<f32> {
    let v = x_ld4(at.i * p.x0 + at.j * p.x1 + g);
    if p.gated == 1u { return under_gate(v, m, gate_ld4(at.i * p.g0 + at.j * p.g1 + g)); }
    return v * m;
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    let m = kept(at);
    for (var g = at.g; g < p.groups; g += 1u << p.log) {
        let to = y_place(at, g);
        var v = value(at, g, m);
        if p.plus == 1u { v += residual_ld4(to); }
        y_st4(to, v);
    }
}

@compute @workgroup_size(64)
fn forward_dropped(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    let m = kept(at);
    for (var g = at.g; g < p.groups; g += 1u << p.log) {
        let to = y_place(at, g);
        y_st4(to, value(at, g, m) * factor(at, g) + residual_ld4(to));
    }
}

// The factor of a group in a dropout's mask, which is numbered as `basic/dropout` does: rows (1) or columns (2) may share theirs.
fn factor(at: Place, g: u32) -> vec4<f32> {
    let flat = at.i * p.n_j + at.j;
    let shared_row = select(select(flat, at.j, p.share == 1u), flat / p.run, p.share == 2u);
    return dropout_factor(shared_row * p.groups + g);
}
// dx = d mask s,  dgate = d mask x s (1 - s),  s = sigmoid(gate), d = dy through the dropout; the mask has no gradient. dy is zero in the
// padding.
fn through(at: Place, g: u32, d: vec4<f32>) {
    let s = sigmoid(gate_ld4(at.i * p.g0 + at.j * p.g1 + g));
    dx_st4(at.i * p.dx0 + at.j * p.dx1 + g, d * s);
    dgate_st4(at.i * p.dg0 + at.j * p.dg1 + g, d * x_ld4(at.i * p.x0 + at.j * p.x1 + g) * s * (1.0 - s));
}

@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    let m = kept(at);
    for (var g = at.g; g < p.groups; g += 1u << p.log) { through(at, g, dy_ld4(y_place(at, g)) * m); }
}

@compute @workgroup_size(64)
fn backward_dropped(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    let m = kept(at);
    for (var g = at.g; g < p.groups; g += 1u << p.log) { through(at, g, dy_ld4(y_place(at, g)) * factor(at, g) * m); }
}

// dx = dy mask, where there is no gate.
@compute @workgroup_size(64)
fn backward_plain(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    let m = kept(at);
    for (var g = at.g; g < p.groups; g += 1u << p.log) { dx_st4(at.i * p.dx0 + at.j * p.dx1 + g, dy_ld4(y_place(at, g)) * m); }
}

// Halves: y[i, j, c] = mask x[i, j, c],  right[i, c, j] = mask x[i, j, half + c]. An invocation takes one group of channels of four j, a
// workgroup eight of eight.
@compute @workgroup_size(64)
fn forward_halves(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 8u + (lane >> 3u);
    let g = at.z * 8u + (lane & 7u);
    if q * 4u >= p.n_j || g >= p.groups { return; }
    var v: mat4x4<f32>;
#repeat e 4
    if q * 4u + $eu < p.n_j { v[$e] = x_ld4(at.y * p.x0 + (q * 4u + $eu) * p.x1 + g) * kept(Place(at.y, q * 4u + $eu, g)); }
#end
    if g < p.half {
#repeat e 4
        if q * 4u + $eu < p.n_j { y_st4(y_place(Place(at.y, q * 4u + $eu, g), g), v[$e]); }
#end
        return;
    }
    v = transpose(v);
#repeat e 4
    right_st4(at.y * p.r0 + ((g - p.half) * 4u + $eu) * p.r1 + q, v[$e]);
#end
}

// dx = mask dy of both halves; the last one may be wider than what it came from.
@compute @workgroup_size(64)
fn backward_halves(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 8u + (lane >> 3u);
    let g = at.z * 8u + (lane & 7u);
    if q * 4u >= p.n_j || g >= p.groups { return; }
    var v: mat4x4<f32>;
    if g < p.half {
#repeat e 4
        if q * 4u + $eu < p.n_j { v[$e] = dy_ld4(y_place(Place(at.y, q * 4u + $eu, g), g)); }
#end
    } else {
#repeat e 4
        v[$e] = right_ld4(at.y * p.r0 + ((g - p.half) * 4u + $eu) * p.r1 + q);
#end
        v = transpose(v);
    }
#repeat e 4
    if q * 4u + $eu < p.n_j {
        let m = kept(Place(at.y, q * 4u + $eu, g));
        dx_st4(at.y * p.dx0 + (q * 4u + $eu) * p.dx1 + g, v[$e] * m * lanes(g, p.width));
    }
#end
}
