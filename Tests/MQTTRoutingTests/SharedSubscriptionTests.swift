import MQTTPackets
import MQTTRouting
import Testing

@Suite struct SharedSubscriptionTests {
    private func insert(_ session: Int32, _ filter: String, into tree: inout SubscriptionTree) throws -> Int32 {
        tree.insert(
            session: session,
            filter: try #require(ParsedFilter(filter)),
            options: SubscriptionOptions(),
            identifier: 0
        )
    }

    private func group(_ topic: String, in tree: SubscriptionTree) throws -> Int32 {
        let topic = Array(topic.utf8)
        return try #require(tree.match(topic.span).groups.first)
    }

    /// The session that gets the next message.
    private func select(
        _ group: Int32,
        _ tree: inout SubscriptionTree,
        rank: (Int32) -> Int?
    ) throws -> Int32 {
        let member = tree.selectMember(group, rank: rank)
        return tree.subscriptions[Int(try #require(member))].session
    }

    @Test("members of a shared subscription take turns")
    func turns() throws {
        var tree = SubscriptionTree(seed: 1)
        for session in 0..<3 { _ = try insert(Int32(session), "$share/g/a/+", into: &tree) }
        let group = try group("a/b", in: tree)
        var sessions: [Int32] = []
        for _ in 0..<9 {
            sessions.append(try select(group, &tree) { _ in 0 })
        }
        #expect(sessions == [0, 1, 2, 0, 1, 2, 0, 1, 2])
    }

    @Test(
        "the member of the best rank is chosen, members of equal rank take turns, and one without a rank gets nothing"
    )
    func ranks() throws {
        var tree = SubscriptionTree(seed: 1)
        for session in 0..<4 { _ = try insert(Int32(session), "$share/g/a", into: &tree) }
        let group = try group("a", in: tree)
        let ranks: [Int?] = [nil, 1, 2, 1]
        var sessions: [Int32] = []
        for _ in 0..<4 {
            sessions.append(try select(group, &tree) { ranks[Int($0)] })
        }
        #expect(sessions == [1, 3, 1, 3])
        let nobody = tree.selectMember(group) { _ in nil }
        #expect(nobody == nil)
        let last = try select(group, &tree) { $0 == 2 ? 9 : nil }
        #expect(last == 2)
    }

    @Test("whoever comes and goes, each message has one member, and nobody waits longer than a round")
    func fairness() throws {
        try withSeed { generator, seed in
            var tree = SubscriptionTree(seed: generator.next())
            var members: [Int32: Int32] = [:]
            members[0] = try insert(0, "$share/g/a", into: &tree)
            let group = try group("a", in: tree)
            var next: Int32 = 1
            for _ in 0..<2_000 {
                if Int.random(in: 0..<10, using: &generator) < 3 {
                    members[next] = try insert(next, "$share/g/a", into: &tree)
                    next += 1
                }
                if members.count > 1, Int.random(in: 0..<10, using: &generator) < 3,
                    let gone = members.keys.sorted().randomElement(using: &generator)
                {
                    let number = members.removeValue(forKey: gone)
                    tree.remove(try #require(number))
                }
                let session = try select(group, &tree) { _ in 0 }
                #expect(members[session] != nil, "seed \(seed)")
            }
            var chosen: Set<Int32> = []
            for _ in members { chosen.insert(try select(group, &tree) { _ in 0 }) }
            #expect(chosen == Set(members.keys), "seed \(seed)")
        }
    }

    @Test("[MQTT-4.8.2-4] groups of another name or another filter are each given the message")
    func groupsApart() throws {
        var tree = SubscriptionTree(seed: 1)
        _ = try insert(0, "$share/g/a", into: &tree)
        _ = try insert(0, "$share/h/a", into: &tree)
        _ = try insert(0, "$share/g/+", into: &tree)
        _ = try insert(0, "$share/g/b", into: &tree)
        _ = try insert(0, "a", into: &tree)
        let topic = Array("a".utf8)
        let route = tree.match(topic.span)
        #expect(Set(route.groups).count == 3)
        #expect(route.receivers.map(\.session) == [0])
    }

    @Test("the identifier of a shared subscription is never given again, though its number is")
    func identifiers() throws {
        var tree = SubscriptionTree(seed: 1)
        let first = try insert(0, "$share/g/a", into: &tree)
        let group = try group("a", in: tree)
        let id = tree.groups[Int(group)].id
        #expect(tree.group(id: id) == group)
        tree.remove(first)
        #expect(tree.group(id: id) == nil)
        #expect(tree.nodeCount == 1)
        _ = try insert(1, "$share/g/a", into: &tree)
        let again = try self.group("a", in: tree)
        #expect(again == group)
        #expect(tree.group(id: id) == nil)
        #expect(tree.groups[Int(group)].id != id)
    }
}
