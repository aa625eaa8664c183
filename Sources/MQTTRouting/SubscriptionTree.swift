import MQTTPackets

/// All subscriptions, as a tree of the levels of their filters.
///
///     (root) ─┬─ "sensors" ─┬─ "kitchen" ── "temperature"   [subscriptions]
///             │             └─ +  ────────── "humidity"     [subscriptions]
///             └─ #                                          [subscriptions]
///
/// Nodes, subscriptions and shared subscriptions live in arrays and refer to one another by number; a number is given
/// again after its owner has gone. Which session is behind a number is not this module's business.
package struct SubscriptionTree: Sendable {
    struct Node: Sendable {
        var parent: Int32
        var level: [UInt8]
        var hash: UInt64
        var children: Int32 = 0
        /// The children `+` and `#`; -1 where there is none.
        var single: Int32 = -1
        var multi: Int32 = -1
        var subscriptions: [Int32] = []
        var shared: [Int32] = []
    }

    /// The same name below another filter is another shared subscription [MQTT-4.8.2-2].
    private struct GroupName: Hashable, Sendable {
        let node: Int32
        let name: [UInt8]
    }

    package struct Subscription: Sendable {
        package var session: Int32
        package var options: SubscriptionOptions
        /// 0 is none.
        package var identifier: UInt32
        /// -1 is none.
        package fileprivate(set) var shared: Int32
        var node: Int32
        var position: Int
    }

    private(set) var nodes: [Node]
    private var freeNodes: [Int32] = []
    private var edges = EdgeTable()
    package private(set) var subscriptions: [Subscription] = []
    private var freeSubscriptions: [Int32] = []
    package private(set) var groups: [SharedSubscription] = []
    private var freeGroups: [Int32] = []
    private var groupOfID: [UInt32: Int32] = [:]
    private var groupOfName: [GroupName: Int32] = [:]
    private var nextGroupID: UInt32 = 1
    let seed: UInt64

    /// Raised when the filters that begin with a level change, so that cached routes of other topics stay valid.
    private var generations: [UInt32]
    private var wildcardGeneration: UInt32 = 0
    package private(set) var count = 0

    package init(seed: UInt64) {
        self.seed = seed
        nodes = [Node(parent: -1, level: [], hash: 0)]
        generations = Array(repeating: 0, count: 1_024)
    }

    package var nodeCount: Int { nodes.count - freeNodes.count }

    /// Adds a subscription and gives its number. That the session has none to the same filter is the caller's to see to.
    package mutating func insert(
        session: Int32,
        filter: ParsedFilter,
        options: SubscriptionOptions,
        identifier: UInt32
    ) -> Int32 {
        let node = makeNode(filter.filter)
        let number = freeSubscriptions.popLast() ?? Int32(subscriptions.count)
        var subscription = Subscription(
            session: session,
            options: options,
            identifier: identifier,
            shared: -1,
            node: node,
            position: 0
        )
        if let name = filter.group {
            subscription.shared = makeGroup(Array(name.utf8), filter.filter, node: node)
            subscription.position = groups[Int(subscription.shared)].append(number)
        } else {
            subscription.position = nodes[Int(node)].subscriptions.count
            nodes[Int(node)].subscriptions.append(number)
        }
        if Int(number) == subscriptions.count {
            subscriptions.append(subscription)
        } else {
            subscriptions[Int(number)] = subscription
        }
        count += 1
        changed(node)
        return number
    }

    package mutating func update(_ number: Int32, options: SubscriptionOptions, identifier: UInt32) {
        subscriptions[Int(number)].options = options
        subscriptions[Int(number)].identifier = identifier
        changed(subscriptions[Int(number)].node)
    }

    package mutating func remove(_ number: Int32) {
        let subscription = subscriptions[Int(number)]
        let node = Int(subscription.node)
        changed(subscription.node)
        if subscription.shared >= 0 {
            if let moved = groups[Int(subscription.shared)].remove(at: subscription.position) {
                subscriptions[Int(moved)].position = subscription.position
            }
            if groups[Int(subscription.shared)].members.isEmpty {
                removeGroup(subscription.shared, node: node)
            }
        } else {
            // The last takes the place of the one that goes: constant time, whatever the number of subscribers.
            let last = nodes[node].subscriptions.removeLast()
            if last != number {
                nodes[node].subscriptions[subscription.position] = last
                subscriptions[Int(last)].position = subscription.position
            }
        }
        freeSubscriptions.append(number)
        count -= 1
        prune(subscription.node)
    }

    /// The member that gets the next message of a shared subscription; nil where none may have it.
    ///
    /// Members take turns; `rank` says who is preferred: 0 is best, nil takes no part.
    package mutating func selectMember(_ group: Int32, rank: (_ session: Int32) -> Int?) -> Int32? {
        let members = groups[Int(group)].members
        var best: (rank: Int, position: Int)?
        for offset in members.indices {
            let position = (groups[Int(group)].turn + offset) % members.count
            guard let rank = rank(subscriptions[Int(members[position])].session) else { continue }
            if rank < best?.rank ?? .max { best = (rank, position) }
            if rank == 0 { break }
        }
        guard let best else { return nil }
        groups[Int(group)].turn = (best.position + 1) % members.count
        return members[best.position]
    }

    /// The identifier of the shared subscription that clients write so; 0 where it has no members.
    package func group(filter: String) -> UInt32 {
        guard let parsed = ParsedFilter(filter), let name = parsed.group else { return 0 }
        var node: Int32 = 0
        for level in parsed.filter.split(separator: Topics.separator, omittingEmptySubsequences: false) {
            guard let next = child(of: node, level: Array(level)) else { return 0 }
            node = next
        }
        return groupOfName[GroupName(node: node, name: Array(name.utf8))].map { groups[Int($0)].id } ?? 0
    }

    /// The number of the shared subscription with this identifier, while it has members.
    package func group(id: UInt32) -> Int32? { groupOfID[id] }

    // MARK: Generations

    /// What a cached route of a topic has to agree with.
    package struct Generation: Sendable, Equatable {
        var level: UInt32
        var wildcard: UInt32
    }

    package func generation(ofTopic topic: Span<UInt8>) -> Generation {
        Generation(level: generations[bucket(topic)], wildcard: wildcardGeneration)
    }

    private func bucket(_ topic: Span<UInt8>) -> Int {
        var end = 0
        while end < topic.count && topic[end] != Topics.separator { end &+= 1 }
        return Int(truncatingIfNeeded: TopicHash.hash(topic.extracting(0..<end), seed: seed)) & 1_023
    }

    private mutating func changed(_ node: Int32) {
        var top = node
        while nodes[Int(top)].parent > 0 { top = nodes[Int(top)].parent }
        let level = nodes[Int(top)].level
        if level == [Topics.singleLevel] || level == [Topics.multiLevel] {
            wildcardGeneration &+= 1
        } else {
            generations[bucket(level.span)] &+= 1
        }
    }

    // MARK: Nodes

    private mutating func makeNode(_ filter: [UInt8]) -> Int32 {
        var node: Int32 = 0
        for level in filter.split(separator: Topics.separator, omittingEmptySubsequences: false) {
            node = child(of: node, level: Array(level)) ?? addChild(to: node, level: Array(level))
        }
        return node
    }

    private func child(of node: Int32, level: [UInt8]) -> Int32? {
        if level == [Topics.singleLevel] { return nodes[Int(node)].single < 0 ? nil : nodes[Int(node)].single }
        if level == [Topics.multiLevel] { return nodes[Int(node)].multi < 0 ? nil : nodes[Int(node)].multi }
        return find(node, level.span)
    }

    func find(_ node: Int32, _ level: Span<UInt8>) -> Int32? {
        guard nodes[Int(node)].children > 0 else { return nil }
        let hash = EdgeTable.hash(parent: node, level: level, seed: seed)
        return edges.find(parent: node, level: level, hash: hash, in: nodes)
    }

    private mutating func addChild(to parent: Int32, level: [UInt8]) -> Int32 {
        let node = Node(
            parent: parent,
            level: level,
            hash: EdgeTable.hash(parent: parent, level: level.span, seed: seed)
        )
        let number = freeNodes.popLast() ?? Int32(nodes.count)
        if Int(number) == nodes.count { nodes.append(node) } else { nodes[Int(number)] = node }
        nodes[Int(parent)].children += 1
        if level == [Topics.singleLevel] {
            nodes[Int(parent)].single = number
        } else if level == [Topics.multiLevel] {
            nodes[Int(parent)].multi = number
        } else {
            edges.insert(number, in: nodes)
        }
        return number
    }

    /// Takes away the node and those above it that nothing needs any more.
    private mutating func prune(_ start: Int32) {
        var number = start
        while number > 0 {
            let node = nodes[Int(number)]
            guard node.children == 0, node.subscriptions.isEmpty, node.shared.isEmpty else { return }
            let parent = Int(node.parent)
            if nodes[parent].single == number {
                nodes[parent].single = -1
            } else if nodes[parent].multi == number {
                nodes[parent].multi = -1
            } else {
                edges.remove(number, in: nodes)
            }
            nodes[parent].children -= 1
            nodes[Int(number)] = Node(parent: -1, level: [], hash: 0)
            freeNodes.append(number)
            number = node.parent
        }
    }

    private mutating func makeGroup(_ name: [UInt8], _ filter: [UInt8], node: Int32) -> Int32 {
        let key = GroupName(node: node, name: name)
        if let known = groupOfName[key] { return known }
        let text = "$share/\(String(decoding: name, as: UTF8.self))/\(String(decoding: filter, as: UTF8.self))"
        let group = SharedSubscription(
            id: nextGroupID,
            name: name,
            filter: text,
            position: nodes[Int(node)].shared.count
        )
        nextGroupID &+= 1
        let number = freeGroups.popLast() ?? Int32(groups.count)
        if Int(number) == groups.count { groups.append(group) } else { groups[Int(number)] = group }
        nodes[Int(node)].shared.append(number)
        groupOfID[group.id] = number
        groupOfName[key] = number
        return number
    }

    private mutating func removeGroup(_ number: Int32, node: Int) {
        let group = groups[Int(number)]
        let last = nodes[node].shared.removeLast()
        if last != number {
            nodes[node].shared[group.position] = last
            groups[Int(last)].position = group.position
        }
        groupOfID[group.id] = nil
        groupOfName[GroupName(node: Int32(node), name: group.name)] = nil
        freeGroups.append(number)
    }
}
