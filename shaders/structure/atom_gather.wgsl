// Atoms of one layout from those of another: y_b = exists_b x_index(b)
#storage x
#storage index i32
#storage exists
#storage y
#storage dy
#storage dx
struct Params { rows: u32, slots: u32, out: u32, pitch: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    for (var b = 0u; b < p.out; b++) {
        let slot = min(u32(index_ld(i * p.pitch + b)), p.slots - 1u);
        y_st4(i * p.out + b, exists_ld(i * p.pitch + b) * x_ld4(i * p.slots + slot));
    }
}

// dx_a = sum over the b with index(b) = a of exists_b dy_b, in order
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    for (var a = 0u; a < p.slots; a++) {
        var sum = vec4<f32>(0.0);
        for (var b = 0u; b < p.out; b++) {
            let mine = min(u32(index_ld(i * p.pitch + b)), p.slots - 1u) == a;
            sum = sum + select(0.0, exists_ld(i * p.pitch + b), mine) * dy_ld4(i * p.out + b);
        }
        dx_st4(i * p.slots + a, sum);
    }
}
