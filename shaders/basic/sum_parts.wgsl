// Sums over parts, many at once: workgroups are dealt out to the table's entries in order.
#storage parts
#storage to
// Row 2 i: entry i's first workgroup, first group of its parts, first group of where it goes, and groups of one part. Row 2 i + 1: number
// of parts, groups from one part to the next, and 1 where the sum is added to what is there.
struct Params { entries: u32, block: u32, short: u32, table: array<vec4<u32>, 256> }
@group(0) @binding(0) var<uniform> p: Params;

// to (+)= sum of the parts in order, in blocks where there are many: the same order as a sum over an axis has.
@compute @workgroup_size(64)
fn sum_parts(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let w = grid(wg).x;
    var entry = 0u;
    var end = p.entries;
    while end - entry > 1u {
        let middle = (entry + end) >> 1u;
        if p.table[middle * 2u].x <= w { entry = middle; } else { end = middle; }
    }
    let a = p.table[entry * 2u];
    let b = p.table[entry * 2u + 1u];
    let g = (w - a.x) * 64u + lane;
    if g >= a.w { return; }
    let block = select(p.block, b.x, b.x <= p.short);
    var sum = vec4<f32>(0.0);
    for (var first = 0u; first < b.x; first += block) {
        var some = vec4<f32>(0.0);
        for (var i = first; i < min(first + block, b.x); i++) { some += parts_ld4(a.y + i * b.y + g); }
        sum += some;
    }
    if b.z == 1u { sum = to_ld4(a.z + g) + sum; }
    to_st4(a.z + g, sum);
}
