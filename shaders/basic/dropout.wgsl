// y = residual + mask x / (1 - p), where an element of the mask is 1 when its random word is at least p 2^32. The mask is made again
// wherever it is needed. Strides count groups of four.
#import philox
#storage residual
#storage x
#storage seed i32
#storage y
#storage dy
#storage dresidual
#storage dx
#import dropout
struct Params {
    n_j: u32, groups: u32, plus: u32, share: u32, run: u32, threshold: u32, kept: f32, key_lo: u32, key_hi: u32,
    r0: u32, r1: u32, x0: u32, x1: u32, y0: u32, y1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

struct Place { i: u32, j: u32, g: u32 }
// A workgroup makes 16 columns of one row: item `flat` of them.
fn place(at: vec3<u32>, flat: u32) -> Place { return Place(at.y, at.x * 16u + flat / p.groups, flat % p.groups); }

// A mask that all rows (1) or `run` neighbouring columns (2) share is numbered without them.
fn factor(at: Place) -> vec4<f32> {
    var number = (at.i * p.n_j + at.j) * p.groups + at.g;
    if p.share == 1u { number = at.j * p.groups + at.g; }
    if p.share == 2u { number = (at.i * p.n_j + at.j) / p.run * p.groups + at.g; }
    return dropout_factor(number);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var flat = lane; flat < 16u * p.groups; flat += 64u) {
        let at = place(grid(wg), flat);
        if at.j >= p.n_j { return; }
        // x and the residual are zero in the padding, and so is y.
        var v = x_ld4(at.i * p.x0 + at.j * p.x1 + at.g) * factor(at);
        if p.plus == 1u { v = v + residual_ld4(at.i * p.r0 + at.j * p.r1 + at.g); }
        y_st4(at.i * p.y0 + at.j * p.y1 + at.g, v);
    }
}

// dresidual = dy,  dx = mask dy / (1 - p)
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var flat = lane; flat < 16u * p.groups; flat += 64u) {
        let at = place(grid(wg), flat);
        if at.j >= p.n_j { return; }
        let d = dy_ld4(at.i * p.y0 + at.j * p.y1 + at.g);
        dresidual_st4(at.i * p.r0 + at.j * p.r1 + at.g, d);
        dx_st4(at.i * p.x0 + at.j * p.x1 + at.g, d * factor(at));
    }
}

// dx alone, where nobody wants the residual's gradient.
@compute @workgroup_size(64)
fn backward_plain(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var flat = lane; flat < 16u * p.groups; flat += 64u) {
        let at = place(grid(wg), flat);
        if at.j >= p.n_j { return; }
        dx_st4(at.i * p.x0 + at.j * p.x1 + at.g, dy_ld4(at.i * p.y0 + at.j * p.y1 + at.g) * factor(at));
    }
}
