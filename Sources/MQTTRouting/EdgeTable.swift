import MQTTPackets

/// (parent node, level) → child node, for all nodes of the tree in one open-addressing table.
///
/// It holds node numbers alone and compares through the nodes, so that looking up a level of a topic needs no key made
/// for it. Deleting moves later entries of the probe run back, so the table has no tombstones.
struct EdgeTable: Sendable {
    /// Node number, or -1 where the place is free.
    private var places: [Int32] = []
    private var count = 0

    static func hash(parent: Int32, level: Span<UInt8>, seed: UInt64) -> UInt64 {
        TopicHash.hash(level, seed: seed ^ (UInt64(UInt32(bitPattern: parent)) &* 0xD6E8_FEB8_6659_FD93))
    }

    func find(parent: Int32, level: Span<UInt8>, hash: UInt64, in nodes: [SubscriptionTree.Node]) -> Int32? {
        guard !places.isEmpty else { return nil }
        let mask = places.count &- 1
        var at = Int(truncatingIfNeeded: hash) & mask
        while places[at] >= 0 {
            let node = Int(places[at])
            if nodes[node].hash == hash, nodes[node].parent == parent, level.isEqual(to: nodes[node].level) {
                return places[at]
            }
            at = (at &+ 1) & mask
        }
        return nil
    }

    mutating func insert(_ node: Int32, in nodes: [SubscriptionTree.Node]) {
        if (count + 1) * 2 > places.count { grow(nodes) }
        place(node, hash: nodes[Int(node)].hash)
        count += 1
    }

    mutating func remove(_ node: Int32, in nodes: [SubscriptionTree.Node]) {
        let mask = places.count - 1
        var at = Int(truncatingIfNeeded: nodes[Int(node)].hash) & mask
        while places[at] != node { at = (at + 1) & mask }
        places[at] = -1
        count -= 1
        var hole = at
        var next = (at + 1) & mask
        while places[next] >= 0 {
            let home = Int(truncatingIfNeeded: nodes[Int(places[next])].hash) & mask
            // The entry may move back if its home is not between the hole and where it stands.
            if (next - home) & mask >= (next - hole) & mask {
                places[hole] = places[next]
                places[next] = -1
                hole = next
            }
            next = (next + 1) & mask
        }
    }

    private mutating func place(_ node: Int32, hash: UInt64) {
        let mask = places.count - 1
        var at = Int(truncatingIfNeeded: hash) & mask
        while places[at] >= 0 { at = (at + 1) & mask }
        places[at] = node
    }

    private mutating func grow(_ nodes: [SubscriptionTree.Node]) {
        let old = places
        places = Array(repeating: -1, count: max(64, old.count * 2))
        for node in old where node >= 0 { place(node, hash: nodes[Int(node)].hash) }
    }
}
