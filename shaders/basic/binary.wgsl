// y = a + b or a * b with broadcasting over four outer axes and the innermost one. Strides count groups of four; a broadcast axis has
// stride 0, a broadcast innermost axis is `splat`.
#import bits
#storage a
#storage b
#storage dy
#storage y
#storage dx
struct Params {
    mul: u32, log: u32, n0: u32, n1: u32, n2: u32, n3: u32, groups: u32, width: u32,
    a0: u32, a1: u32, a2: u32, a3: u32, a_splat: u32,
    b0: u32, b1: u32, b2: u32, b3: u32, b_splat: u32,
    y0: u32, y1: u32, y2: u32, y3: u32,
    e0: u32, e1: u32, e2: u32, e3: u32, e_groups: u32, e_width: u32,
    d0: u32, d1: u32, d2: u32, d3: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

fn a_at(base: u32, g: u32) -> vec4<f32> {
    if p.a_splat == 1u { return vec4<f32>(a_ld(base * 4u)); }
    return a_ld4(base + g);
}
fn b_at(base: u32, g: u32) -> vec4<f32> {
    if p.b_splat == 1u { return vec4<f32>(b_ld(base * 4u)); }
    return b_ld4(base + g);
}

// All views are one list of groups.
override FLAT: bool = false;

struct Place { i0: u32, i1: u32, i2: u32, i3: u32, g: u32, inside: bool }
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
    return Place(at.y, i1, i2, i3, lane & ((1u << p.log) - 1u), i1 < p.n1);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if FLAT {
        let i = grid(wg).x * 64u + lane;
        if i >= p.n1 { return; }
        let v = a_ld4(i);
        let w = b_ld4(i);
        y_st4(i, select(v + w, v * w, p.mul == 1u));
        return;
    }
    let t = place(wg, lane);
    if !t.inside { return; }
    let a = t.i0 * p.a0 + t.i1 * p.a1 + t.i2 * p.a2 + t.i3 * p.a3;
    let b = t.i0 * p.b0 + t.i1 * p.b1 + t.i2 * p.b2 + t.i3 * p.b3;
    let y = t.i0 * p.y0 + t.i1 * p.y1 + t.i2 * p.y2 + t.i3 * p.y3;
    for (var g = t.g; g < p.groups; g += 1u << p.log) {
        let v = a_at(a, g);
        let w = b_at(b, g);
        y_st4(y + g, select(v + w, v * w, p.mul == 1u) * lanes(g, p.width));
    }
}

// d_a = dy (add) or dy * b (mul) where a was not broadcast. `b` is the other operand; a's strides are those of its gradient.
@compute @workgroup_size(64)
fn backward_same(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if FLAT {
        let i = grid(wg).x * 64u + lane;
        if i >= p.n1 { return; }
        var v = dy_ld4(i);
        if p.mul == 1u { v = v * b_ld4(i); }
        dx_st4(i, v);
        return;
    }
    let t = place(wg, lane);
    if !t.inside { return; }
    let a = t.i0 * p.a0 + t.i1 * p.a1 + t.i2 * p.a2 + t.i3 * p.a3;
    let b = t.i0 * p.b0 + t.i1 * p.b1 + t.i2 * p.b2 + t.i3 * p.b3;
    let y = t.i0 * p.y0 + t.i1 * p.y1 + t.i2 * p.y2 + t.i3 * p.y3;
    for (var g = t.g; g < p.groups; g += 1u << p.log) {
        var v = dy_ld4(y + g);
        if p.mul == 1u { v = v * b_at(b, g); }
        dx_st4(a + g, v * lanes(g, p.width));
    }
}

// d_a = sum over the axes that a was broadcast over of dy (add) or dy * b (mul). `b` is the other operand, `e` the operand's extents.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let j0 = at.y;
    let g = flat % p.e_groups;
    var rest = flat / p.e_groups;
    let j3 = rest % p.e3;
    rest = rest / p.e3;
    let j2 = rest % p.e2;
    let j1 = rest / p.e2;
    if j1 >= p.e1 { return; }
    let splat = p.a_splat == 1u;
    var sum = vec4<f32>(0.0);
    for (var k0 = 0u; k0 < p.n0 / p.e0; k0++) {
        for (var k1 = 0u; k1 < p.n1 / p.e1; k1++) {
            for (var k2 = 0u; k2 < p.n2 / p.e2; k2++) {
                for (var k3 = 0u; k3 < p.n3 / p.e3; k3++) {
                    let i0 = j0 + k0;
                    let i1 = j1 + k1;
                    let i2 = j2 + k2;
                    let i3 = j3 + k3;
                    let row_y = i0 * p.y0 + i1 * p.y1 + i2 * p.y2 + i3 * p.y3;
                    let row_b = i0 * p.b0 + i1 * p.b1 + i2 * p.b2 + i3 * p.b3;
                    for (var h = 0u; h < select(1u, p.groups, splat); h++) {
                        let gg = g + h;
                        var v = dy_ld4(row_y + gg) * lanes(gg, p.width);
                        if p.mul == 1u { v = v * b_at(row_b, gg); }
                        sum = sum + v;
                    }
                }
            }
        }
    }
    if splat { sum = vec4<f32>(sum.x + sum.y + sum.z + sum.w, 0.0, 0.0, 0.0); }
    dx_st4(j0 * p.d0 + j1 * p.d1 + j2 * p.d2 + j3 * p.d3 + g, sum * lanes(g, p.e_width));
}
