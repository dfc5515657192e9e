// y = x between strided views of the same shape; with `add`, y += x. Strides count groups of four.
#import bits
#storage x
#storage y
struct Params {
    n1: u32, n2: u32, n3: u32, groups: u32,
    x0: u32, x1: u32, x2: u32, x3: u32,
    y0: u32, y1: u32, y2: u32, y3: u32,
    add: u32, width: u32, value: f32,
}
@group(0) @binding(0) var<uniform> p: Params;

struct Place { x: u32, y: u32, g: u32, inside: bool }
fn place(wg: vec3<u32>, lane: u32) -> Place {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let g = flat % p.groups;
    var rest = flat / p.groups;
    let i3 = rest % p.n3;
    rest = rest / p.n3;
    let i2 = rest % p.n2;
    let i1 = rest / p.n2;
    let i0 = at.y;
    let x = i0 * p.x0 + i1 * p.x1 + i2 * p.x2 + i3 * p.x3 + g;
    let y = i0 * p.y0 + i1 * p.y1 + i2 * p.y2 + i3 * p.y3 + g;
    return Place(x, y, g, i1 < p.n1);
}

// The gradient of a copy is the same copy of dy.
@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if !at.inside { return; }
    var v = x_ld4(at.x);
    if p.add == 1u { v = v + y_ld4(at.y); }
    y_st4(at.y, v);
}

@compute @workgroup_size(64)
fn fill(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if !at.inside { return; }
    y_st4(at.y, lanes(at.g, p.width) * p.value);
}
