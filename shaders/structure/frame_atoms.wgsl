// Atoms from frames: y_a = F_g(a) x_a where the type has atom a, and zero elsewhere; g and x are the atom's group and literature position.
#import rigid
#storage f
#storage types i32
#storage groups i32
#storage places
#storage exists
#storage y
#storage dy
#storage df
struct Params { rows: u32, residues: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let kind = u32(types_ld(i % p.residues));
    for (var a = 0u; a < 14u; a++) {
        let at = (i * 8u + u32(groups_ld(kind * 16u + a))) * 3u;
        let g = unpack12(f_ld4(at), f_ld4(at + 1u), f_ld4(at + 2u));
        y_st4(i * 14u + a, vec4<f32>(exists_ld(kind * 16u + a) * apply(g, places_ld4(kind * 14u + a).xyz), 0.0));
    }
}

// dF_g = sum over the atoms of group g of (dy_a x_a^T, dy_a)
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let kind = u32(types_ld(i % p.residues));
    for (var k = 0u; k < 8u; k++) {
        var sum = Rigid(mat3x3<f32>(), vec3<f32>());
        for (var a = 0u; a < 14u; a++) {
            let mine = select(0.0, exists_ld(kind * 16u + a), u32(groups_ld(kind * 16u + a)) == k);
            sum = plus(sum, apply_back(places_ld4(kind * 14u + a).xyz, mine * dy_ld4(i * 14u + a).xyz));
        }
        let at = (i * 8u + k) * 3u;
        df_st4(at, pack12a(sum));
        df_st4(at + 1u, pack12b(sum));
        df_st4(at + 2u, pack12c(sum));
    }
}
