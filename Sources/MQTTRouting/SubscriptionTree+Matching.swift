import MQTTPackets

/// One session that gets the messages of a topic, with all its overlapping subscriptions in one [MQTT-3.3.4-2].
@usableFromInline
package struct Receiver: Sendable, Equatable {
    /// Whom the entry counts for.
    package enum Scope: UInt8, Sendable {
        case always
        /// Not where the session published the message itself.
        case unlessPublisher
        /// Only where the session published the message itself.
        case ifPublisher
    }

    package var session: Int32
    package var qos: QoS
    package var retainAsPublished: Bool
    package var scope: Scope
    /// Where in the route the identifiers of its subscriptions stand; -1 where none has one. A number, so that a
    /// receiver is trivial and looking at it retains nothing.
    @usableFromInline var identifiersAt: Int32

    package init(
        session: Int32,
        qos: QoS,
        retainAsPublished: Bool,
        scope: Scope = .always,
        identifiersAt: Int32 = -1
    ) {
        self.session = session
        self.qos = qos
        self.retainAsPublished = retainAsPublished
        self.scope = scope
        self.identifiersAt = identifiersAt
    }

    /// The receiver that one subscription alone makes.
    package init(_ subscription: SubscriptionTree.Subscription) {
        self.init(
            session: subscription.session,
            qos: subscription.options.qos,
            retainAsPublished: subscription.options.retainAsPublished
        )
    }
}

extension SubscriptionTree.Subscription {
    /// What a message that it alone brings is sent with.
    package var identifiers: [UInt32] { identifier > 0 ? [identifier] : [] }
}

/// Who gets the messages of a topic. An object, so that each message of a topic holds one reference to all of it.
@usableFromInline
package final class Route: Sendable, Equatable {
    @usableFromInline package let receivers: [Receiver]
    @usableFromInline let identifiers: [[UInt32]]
    /// Numbers of shared subscriptions.
    @usableFromInline package let groups: [Int32]

    fileprivate init(_ found: FoundRoute) {
        receivers = found.receivers
        identifiers = found.identifiers
        groups = found.groups
    }

    @usableFromInline
    package static func == (one: Route, other: Route) -> Bool {
        one.receivers == other.receivers && one.identifiers == other.identifiers && one.groups == other.groups
    }

    @inlinable package var isEmpty: Bool { receivers.isEmpty && groups.isEmpty }

    /// The identifiers of all of a receiver's subscriptions that have one [MQTT-3.3.4-4].
    @inlinable package func identifiers(of receiver: Receiver) -> [UInt32] {
        receiver.identifiersAt < 0 ? [] : identifiers[Int(receiver.identifiersAt)]
    }

    var bytesHeld: Int {
        receivers.count * MemoryLayout<Receiver>.stride + groups.count * 4
            + identifiers.reduce(0) { $0 + MemoryLayout<[UInt32]>.stride + $1.count * 4 }
    }
}

/// A route that is being put together.
private struct FoundRoute {
    var receivers: [Receiver] = []
    var identifiers: [[UInt32]] = []
    var groups: [Int32] = []

    /// All subscriptions of one session that match, as one receiver.
    mutating func append(_ all: [SubscriptionTree.Subscription], session: Int32, _ scope: Receiver.Scope) {
        var receiver = Receiver(
            session: session,
            qos: all.map(\.options.qos).max() ?? .atMostOnce,
            retainAsPublished: all.contains { $0.options.retainAsPublished },
            scope: scope
        )
        let found = all.map(\.identifier).filter { $0 > 0 }
        if !found.isEmpty {
            receiver.identifiersAt = Int32(identifiers.count)
            identifiers.append(found)
        }
        receivers.append(receiver)
    }
}

extension SubscriptionTree {
    /// Finds everybody who subscribed to a topic.
    package func match(_ topic: Span<UInt8>) -> Route {
        var found: [Int32] = []
        var route = FoundRoute()
        var nodesWithSubscriptions = 0
        visit(topic) { node in
            let subscriptions = nodes[Int(node)].subscriptions
            if !subscriptions.isEmpty {
                nodesWithSubscriptions += 1
                found += subscriptions
            }
            route.groups += nodes[Int(node)].shared
        }
        // A session stands once in a node, so it can only be found twice in different ones.
        if nodesWithSubscriptions > 1 {
            found.sort { (subscriptions[Int($0)].session, $0) < (subscriptions[Int($1)].session, $1) }
        }
        var start = 0
        while start < found.count {
            let session = subscriptions[Int(found[start])].session
            var end = start + 1
            while end < found.count && subscriptions[Int(found[end])].session == session { end += 1 }
            append(found[start..<end], session: session, to: &route)
            start = end
        }
        return Route(route)
    }

    /// Overlapping subscriptions of one session become one receiver, or two where only some of them say No Local.
    private func append(_ found: ArraySlice<Int32>, session: Int32, to route: inout FoundRoute) {
        let all = found.map { subscriptions[Int($0)] }
        let forOwn = all.filter { !$0.options.noLocal }
        if forOwn.count == all.count {
            route.append(all, session: session, .always)
        } else {
            route.append(all, session: session, .unlessPublisher)  // [MQTT-3.8.3-3]
            if !forOwn.isEmpty { route.append(forOwn, session: session, .ifPublisher) }
        }
    }

    /// Calls `found` with each node whose filter matches the topic.
    private func visit(_ topic: Span<UInt8>, _ found: (Int32) -> Void) {
        // Wildcards at the start do not match topics that begin with $ [MQTT-4.7.2-1].
        let isDollar = !topic.isEmpty && topic[0] == Topics.dollar
        var open: [(node: Int32, at: Int)] = [(0, 0)]
        while let (number, at) = open.popLast() {
            let node = Int(number)
            let mayBeWild = number != 0 || !isDollar
            if mayBeWild && nodes[node].multi >= 0 { found(nodes[node].multi) }
            guard at <= topic.count else {
                found(number)
                continue
            }
            var end = at
            while end < topic.count && topic[end] != Topics.separator { end &+= 1 }
            if mayBeWild && nodes[node].single >= 0 { open.append((nodes[node].single, end + 1)) }
            if let child = find(number, topic.extracting(at..<end)) { open.append((child, end + 1)) }
        }
    }
}
