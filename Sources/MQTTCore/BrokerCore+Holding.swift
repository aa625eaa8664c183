import DequeModule
import MQTTPackets
import MQTTStore
import NIOCore

/// A full store. What asks for more of it waits: PUBLISH packets of QoS 1 and 2 and retained ones, SUBSCRIBE of sessions
/// that are stored, and CONNECT that begins to store a session. All else goes on, so that sessions drain, also behind a
/// packet that waits:
///
///     read ─▶ PUBLISH 1 ─▶ held ─────────────────▶ when there is room again, in order
///             PUBACK    ─▶ handled: it makes room    └─ or, after the drain time, answered with 0x97
///             PUBLISH 2 ─▶ held, behind 1
///
/// What is held of a connection is the connection's alone, and goes with it; it was never acknowledged.
extension BrokerCore {
    /// What the store says of itself, as often as it is asked. While it is full, what asks for more of it waits.
    package mutating func storeSays(_ statistics: StoreStatistics, at now: Int64) {
        self.now = now
        system.store.hear(statistics)
        guard isStoreFull != statistics.isFull else { return }
        isStoreFull = statistics.isFull
        isHolding = isStoreFull || !held.isEmpty
        guard !isStoreFull else { return }
        // In the order of slots: that of a dictionary differs from process to process.
        for slot in held.keys.sorted() { goOn(Int(slot)) }
    }

    /// What is held of a connection has its turn, as its loop finds time.
    mutating func goOn(_ c: Int) {
        if connections[c].state == .connected { becomeHungry(c) } else { touch(c) }
    }

    // MARK: Holding

    /// Whether a connection that has something held is not to be read any further.
    @inline(__always)
    func holdsTooMuch(_ c: Int) -> Bool {
        guard let bytes = held[Int32(c)]?.bytes else { return false }
        return bytes >= limits.uncommittedBytesMax || statistics.heldBytes >= limits.uncommittedBytesInAllMax
    }

    /// Keeps a packet that asks for more of a full store, or that would overtake one that waits. False where it goes on.
    mutating func hold(
        _ bytes: Span<UInt8>,
        at: Int,
        _ header: FixedHeader,
        _ kind: PacketKind,
        _ c: Int
    ) throws(DecodingError) -> Bool {
        let isBehind = held[Int32(c)] != nil
        let (grows, keepsPlace) = try asksForRoom(bytes, at: at, header, kind, c)
        guard grows && (isStoreFull || isBehind) || keepsPlace && isBehind else { return false }
        let packet = HeldPacket(
            kind: kind,
            grows: grows,
            bytes: bytes.buffer(in: at..<(at &+ header.packetBytes)),
            since: now,
            verdict: verdict
        )
        verdict = nil
        if isBehind || statistics.heldBytes < limits.uncommittedBytesInAllMax {
            hold(packet, c)
        } else {
            try refuse(packet, c)
        }
        return true
    }

    /// Whether a packet makes the store keep more, and whether it has to stay behind others that wait.
    private func asksForRoom(
        _ bytes: Span<UInt8>,
        at: Int,
        _ header: FixedHeader,
        _ kind: PacketKind,
        _ c: Int
    ) throws(DecodingError) -> (grows: Bool, keepsPlace: Bool) {
        let s = session(of: c)
        switch kind {
        case .publish:
            let view = try PublishView(bytes, at: at, header: header, version: connections[c].version)
            switch view.qos {
            case .atMostOnce:
                // An alias may be defined by one that waits.
                let keepsPlace = view.isRetained || view.topicAlias != 0
                return (view.isRetained && !view.payload.isEmpty, keepsPlace)
            case .atLeastOnce: return (true, true)
            case .exactlyOnce:
                // One that was received before asks for its PUBREC only.
                let isNew = !sessions[s].state.inbound.unreleased.contains(view.packetID)
                return (isNew, isNew)
            }
        case .subscribe: return (sessions[s].state.isPersistent, false)
        case .unsubscribe: return (false, held[Int32(c)]?.packets.contains { $0.kind == .subscribe } ?? false)
        default: return (false, false)
        }
    }

    private mutating func hold(_ packet: HeldPacket, _ c: Int) {
        let slot = Int32(c)
        if held[slot] == nil {
            let due = now + configuration.drainTime
            held[slot] = HeldInput(due: due)
            timers.insert(Timer(due: due, kind: .held(id(c))))
        }
        held[slot]?.packets.append(packet)
        held[slot]?.bytes += packet.bytesHeld
        statistics.heldBytes += packet.bytesHeld
    }

    /// Keeps a CONNECT waiting, of which the connection keeps the bytes. False where it may go on.
    mutating func hold(_ connect: Connect, _ c: Int) -> Bool {
        guard isStoreFull, configuration.isDurable, beginsToStore(connect) else {
            if !held.isEmpty { dropHeld(c) }
            return false
        }
        connections[c].version = connect.version
        if held[Int32(c)] == nil {
            hold(HeldPacket(kind: .connect, grows: true, bytes: ByteBuffer(), since: now, verdict: nil), c)
        }
        return true
    }

    private func beginsToStore(_ connect: Connect) -> Bool {
        guard sessionExpiry(connect) > 0 || connect.will != nil else { return false }
        guard !connect.cleanStart, let s = sessionOfClient[Array(connect.clientID.utf8)].map(Int.init) else {
            return true
        }
        return !sessions[s].isStored || isOver(s)
    }

    // MARK: Going on

    /// Handles what is held of a connection, as far as there is room for it and as this turn's budget goes.
    mutating func releaseHeld(_ c: Int) {
        while connections[c].state == .connected, let first = held[Int32(c)]?.packets.first,
            !isStoreFull || !first.grows
        {
            guard budget > 0 else { return becomeHungry(c) }
            guard !isToWaitForCommit(c) else { return pauseForCommit(c) }
            takeFirstHeld(c)
            handle(c) { core throws(DecodingError) in try core.handle(first, c) }
        }
        // It may have been read no further.
        touch(c)
    }

    private mutating func handle(_ c: Int, _ body: (inout BrokerCore) throws(DecodingError) -> Void) {
        let before = ticket
        do throws(DecodingError) {
            try body(&self)
        } catch {
            disconnect(c, error.reasonCode, explanation: error.explanation)
        }
        if ticket > before { connections[c].lastTicket = ticket }
    }

    private mutating func handle(_ packet: HeldPacket, _ c: Int) throws(DecodingError) {
        heldTime = now - packet.since
        defer { heldTime = 0 }
        verdict = packet.verdict
        let bytes = packet.bytes.readableBytesUInt8Span
        guard let header = try FixedHeader.read(bytes, at: 0, packetBytesMax: limits.packetBytesMax) else { return }
        budget &-= 1
        try handle(bytes, at: 0, header, packet.kind, c)
    }

    /// What has not come to be handled within the drain time is refused.
    mutating func heldDue(_ id: ConnectionID, _ due: Int64) {
        guard let c = index(id), held[Int32(c)]?.due == due else { return }
        while isStoreFull, budget > 0, let first = held[Int32(c)]?.packets.first,
            now - first.since >= configuration.drainTime
        {
            budget &-= 1
            takeFirstHeld(c)
            handle(c) { core throws(DecodingError) in try core.refuse(first, c) }
            // What only kept its place goes on.
            if held[Int32(c)]?.packets.first?.grows != true { releaseHeld(c) }
        }
        guard let first = held[Int32(c)]?.packets.first else { return }
        let next = max(now + 1, first.since + configuration.drainTime)
        held[Int32(c)]?.due = next
        timers.insert(Timer(due: next, kind: .held(id)))
    }

    /// Tells the client that there is no room, as far as its version has a way to, or ends the connection.
    private mutating func refuse(_ packet: HeldPacket, _ c: Int) throws(DecodingError) {
        let (version, explanation) = (connections[c].version, "there is no room to keep more")
        let bytes = packet.bytes.readableBytesUInt8Span
        switch packet.kind {
        case .connect: refuse(c, .quotaExceeded, version: version)
        case .publish:
            guard let header = try FixedHeader.read(bytes, at: 0, packetBytesMax: limits.packetBytesMax) else { return }
            let view = try PublishView(bytes, at: 0, header: header, version: version)
            countRefused(payloadBytes: view.payload.count)
            // What comes behind it may use its alias.
            if view.topicAlias != 0 { _ = try resolveAlias(bytes, view, c) }
            if view.qos == .atMostOnce { return }
            guard version == .v5 else { return disconnect(c, .quotaExceeded, explanation: explanation) }
            let refusal = Acknowledgement(packetID: view.packetID, reasonCode: .quotaExceeded)
            answer(c, view.qos == .atLeastOnce ? .puback(refusal) : .pubrec(refusal))
        default:
            guard case .subscribe(let subscribe) = try decode(bytes, c) else { return }
            let refusals = Array(repeating: ReasonCode.quotaExceeded, count: subscribe.filters.count)
            answer(c, .suback(Suback(packetID: subscribe.packetID, reasonCodes: refusals)))
        }
    }

    private func decode(_ bytes: Span<UInt8>, _ c: Int) throws(DecodingError) -> Packet? {
        guard let header = try FixedHeader.read(bytes, at: 0, packetBytesMax: limits.packetBytesMax) else { return nil }
        let (version, most) = (connections[c].version, limits.filtersMax)
        return try PacketDecoder.decode(bytes, at: 0, header: header, version: version, filtersMax: most)
    }

    private mutating func countRefused(payloadBytes: Int) {
        statistics.publishReceived &+= 1
        statistics.publishBytesReceived &+= UInt64(payloadBytes)
        statistics.publishRefused &+= 1
    }

    private mutating func takeFirstHeld(_ c: Int) {
        guard let first = held[Int32(c)]?.packets.popFirst() else { return }
        held[Int32(c)]?.bytes -= first.bytesHeld
        statistics.heldBytes -= first.bytesHeld
        guard held[Int32(c)]?.packets.isEmpty == true else { return }
        held[Int32(c)] = nil
        isHolding = isStoreFull || !held.isEmpty
    }

    /// The connection is over, or its CONNECT waits no longer.
    mutating func dropHeld(_ c: Int) {
        guard let gone = held.removeValue(forKey: Int32(c)) else { return }
        isHolding = isStoreFull || !held.isEmpty
        statistics.heldBytes -= gone.bytes
        for packet in gone.packets where packet.kind == .publish {
            // It was read through when it came.
            let bytes = packet.bytes.readableBytesUInt8Span
            let header = try? FixedHeader.read(bytes, at: 0, packetBytesMax: limits.packetBytesMax)
            let version = connections[c].version
            let view = header.flatMap { $0 }.flatMap { try? PublishView(bytes, at: 0, header: $0, version: version) }
            countRefused(payloadBytes: view?.payload.count ?? 0)
        }
    }
}

/// A packet that waits for room in the store.
struct HeldPacket: Sendable {
    let kind: PacketKind
    /// Whether it waits for room, and not only for those before it.
    let grows: Bool
    /// All of it, but for CONNECT.
    let bytes: ByteBuffer
    /// Milliseconds.
    let since: Int64
    let verdict: PacketVerdict?

    var bytesHeld: Int {
        var replacedBytes = 0
        if case .replaced(let packet)? = verdict { replacedBytes = packet.storageCapacity }
        return MemoryLayout<HeldPacket>.stride + bytes.storageCapacity + replacedBytes
    }
}

/// What is held of one connection.
struct HeldInput: Sendable {
    var packets = Deque<HeldPacket>()
    var bytes = 0
    /// When its timer fires.
    var due: Int64
}
