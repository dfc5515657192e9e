// y = x between strided views of the same shape; with `add`, y += x. Strides count groups of four.
#import bits
#storage x
#storage y
struct Params {
    n1: u32, n2: u32, n3: u32, groups: u32,
    x0: u32, x1: u32, x2: u32, x3: u32,
    y0: u32, y1: u32, y2: u32, y3: u32,
    add: u32, width: u32, log: u32, value: f32,
}
@group(0) @binding(0) var<uniform> p: Params;

// All views are one list of groups.
override FLAT: bool = false;

struct Place { x: u32, y: u32, g: u32, inside: bool }
// The row of an invocation, and its first group: `2^log` invocations share a row.
fn place(wg: vec3<u32>, lane: u32) -> Place {
    let at = grid(wg);
    let row = at.x * (64u >> p.log) + (lane >> p.log);
    var i1 = row;
    var i2 = 0u;
    var i3 = 0u;
    if p.n2 * p.n3 > 1u {
        i3 = row % p.n3;
        i2 = row / p.n3 % p.n2;
        i1 = row / p.n3 / p.n2;
    }
    let x = at.y * p.x0 + i1 * p.x1 + i2 * p.x2 + i3 * p.x3;
    let y = at.y * p.y0 + i1 * p.y1 + i2 * p.y2 + i3 * p.y3;
    return Place(x, y, lane & ((1u << p.log) - 1u), i1 < p.n1);
}

// The gradient of a copy is the same copy of dy.
@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if FLAT {
        let i = grid(wg).x * 64u + lane;
        if i >= p.n1 { return; }
        var v = x_ld4(i);
        if p.add == 1u { v = v + y_ld4(i); }
        y_st4(i, v);
        return;
    }
    let at = place(wg, lane);
    if !at.inside { return; }
    for (var g = at.g; g < p.groups; g += 1u << p.log) {
        var v = x_ld4(at.x + g);
        if p.add == 1u { v = v + y_ld4(at.y + g); }
        y_st4(at.y + g, v);
    }
}

@compute @workgroup_size(64)
fn fill(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if !at.inside { return; }
    for (var g = at.g; g < p.groups; g += 1u << p.log) { y_st4(at.y + g, lanes(g, p.width) * p.value); }
}
