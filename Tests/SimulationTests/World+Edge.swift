import MQTTCore
import MQTTPackets
import NIOCore

/// What `LoopDriver` and `ConnectionHandler` do, without a loop and without a channel.
extension World {
    /// What a turn left to do.
    struct AfterTurn {
        let loop: Int
        let output: [OutputEntry]
        let isHungry: Bool
    }

    /// One turn: into the core, and out with this loop's output.
    func turn<Value>(_ loop: Int, _ body: (inout BrokerCore) -> Value) -> (Value, AfterTurn) {
        let value = body(&core)
        let output = core.takeOutput(loop: loop)
        for other in core.loopsToWake(besides: loop) { loops[other].isWoken = true }
        let after = AfterTurn(loop: loop, output: output, isHungry: core.isHungry(loop: loop))
        _ = core.takeDiscarded()
        return (value, after)
    }

    func turn(_ loop: Int, _ body: (inout BrokerCore) -> Void) throws {
        let (_, after) = turn(loop, body) as (Void, AfterTurn)
        try perform(after)
    }

    func perform(_ after: AfterTurn) throws {
        try settleStore()
        for event in core.takeEvents() { try happened(event) }
        try observe()
        if after.isHungry { loops[after.loop].isToFeed = true }
        for entry in after.output {
            guard let link = link(entry.connection) else { continue }
            try link.monitor.sent(entry.chunks, isLast: entry.closes, store)
        }
        pending += after.output
        guard !isPerforming else { return }
        isPerforming = true
        while !pending.isEmpty {
            let entry = pending.removeFirst()
            if let link = link(entry.connection) { try perform(entry, link) }
        }
        isPerforming = false
    }

    /// Takes what must last. The order matters: what a turn sends is checked against what it changed.
    func settleStore(taking: Bool = false) throws {
        guard taking || !takesLate else { return }
        let all = core.takeChanges(wallClock: now)
        guard !all.changes.isEmpty else { return }
        let taken = all.changes.dropFirst().map { TakenChanges.isPlaceholder($0) ? nil : $0 }
        for (offset, change) in taken.enumerated() {
            guard let change else { continue }
            changes.append((change, store.ticket + UInt64(offset) + 1))
        }
        try store.apply(taken, through: all.ticket)
    }

    func link(_ id: ConnectionID) -> Link? { links.last { $0.id == id && !$0.isGone } }

    private func happened(_ event: CoreEvent) throws {
        note("\(event)")
        switch event {
        case .connected(let info, let sessionPresent, _):
            guard let client = client(named: info.id) else { return }
            if !sessionPresent {
                client.brokerHolds = []
                client.current = [:]
            }
            links.last { $0.address == info.address }?.wasAccepted = true
        case .disconnected(let client, _, _):
            guard let link = links.last(where: { $0.address == client.address }), !client.id.isEmpty else { return }
            link.hasEnded = true
            if link.wasAccepted { willEnds(with: link) }
        case .dropped: break
        case .unreadable: throw SimulationFailure("\(event)")
        }
    }

    private func perform(_ entry: OutputEntry, _ link: Link) throws {
        guard !link.isClosing else { return }
        for chunk in entry.chunks { link.writeFromBroker(chunk) }
        if entry.closes {
            link.isClosing = true
            link.next = .ignore
            link.rest = ByteBuffer()
            return
        }
        if link.isWritable && link.toClient.readableBytes > link.highWater {
            try setWritable(link, false)
        }
        if entry.resumes { try goOn(link) }
    }

    func setWritable(_ link: Link, _ isWritable: Bool) throws {
        link.isWritable = isWritable
        try turn(link.loop) { [now] core in core.setWritable(link.id, isWritable, at: now) }
    }

    // MARK: Reading

    func brokerReceives(_ link: Link, bytes: Int) throws {
        guard let part = link.toBroker.readSlice(length: bytes) else { return }
        if link.toBroker.readableBytes == 0 { link.toBroker.clear() }
        guard link.next == .read else { return }
        link.rest.writeImmutableBuffer(part)
        try handleRest(link)
    }

    func goOn(_ link: Link) throws {
        link.goesOn = false
        guard !link.isClosing, !link.isGone else { return }
        link.next = .read
        if link.rest.readableBytes > 0 { try handleRest(link) }
    }

    private func handleRest(_ link: Link) throws {
        guard !link.isHandling else { return }
        link.isHandling = true
        defer { link.isHandling = false }
        var consumed = 0
        repeat {
            let burst = isStrict ? firstPacket(link.rest) : link.rest
            let wasOpen = core.isOpen(link.id)
            let before = (ticket: store.ticket, ofClient: store.lastTicket(of: link.client.name))
            let (received, after) = turn(link.loop) { [now] core in core.receive(burst, from: link.id, at: now) }
            try settleStore()
            consumed = received.consumed
            link.next = received.next
            let handled = link.rest.readSlice(length: consumed) ?? ByteBuffer()
            if wasOpen { try noteHandled(handled, link, before: before) }
            link.rest = ByteBuffer(bytes: link.rest.readableBytesView)
            try perform(after)
        } while link.next == .read && consumed > 0 && link.rest.readableBytes > 0 && !link.isClosing && !link.isGone
        if link.next == .again { link.goesOn = true }
    }

    private func firstPacket(_ bytes: ByteBuffer) -> ByteBuffer {
        let header = try? FixedHeader.read(bytes.readableBytesUInt8Span, at: 0, packetBytesMax: .max)
        guard let length = header.flatMap({ $0 })?.packetBytes else { return bytes }
        return bytes.getSlice(at: bytes.readerIndex, length: min(length, bytes.readableBytes)) ?? bytes
    }

    /// Follows what the broker has handled, packet by packet.
    private func noteHandled(_ bytes: ByteBuffer, _ link: Link, before: (ticket: UInt64, ofClient: UInt64)) throws {
        var bytes = bytes
        let version = link.client.plan.connect.version
        var decoder = PacketDecoder(version: version)
        let ticket = isStrict && store.ticket > before.ticket ? store.ticket : 0
        while bytes.readableBytes > 0, let packet = try decoder.next(&bytes) {
            note("broker handles \(packet.kind) of \(link.client.name) on \(link.address)")
            link.monitor.handled(packet, ticket: ticket, lastTicket: before.ofClient, store)
            switch packet {
            case .publish(let publish): noteHandled(publish, link)
            case .subscribe(let subscribe):
                for wanted in subscribe.filters {
                    link.client.current[wanted.filter] = SimulatedSubscription(wanted.filter, wanted.options)
                }
            case .unsubscribe(let unsubscribe):
                for filter in unsubscribe.filters { link.client.current[filter] = nil }
            case .pubrel(let answer): link.client.brokerHolds.remove(answer.packetID)
            case .disconnect(let disconnect): link.leftInOrder = disconnect.reasonCode == .success
            default: break
            }
        }
    }

    private func noteHandled(_ publish: Publish, _ link: Link) {
        let alias = publish.properties[integer: .topicAlias]
        let topic = publish.topic.isEmpty ? link.aliases.first { $0.value == alias }?.key ?? "" : publish.topic
        guard !topic.hasPrefix("$SYS") else { return }
        if publish.qos == .exactlyOnce && !link.client.brokerHolds.insert(publish.packetID ?? 0).inserted { return }
        guard publish.isRetained else { return }
        let payload = String(buffer: publish.payload)
        retained[topic] = payload.isEmpty ? nil : payload
    }
}
