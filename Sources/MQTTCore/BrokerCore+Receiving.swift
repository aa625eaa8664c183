import MQTTPackets
import NIOCore

/// How far a burst was handled.
package struct Received: Sendable, Equatable {
    package enum Next: Sendable {
        /// All whole packets are handled; read on.
        case read
        /// The turn's budget is used up; call again with the rest, after others had their turn.
        case again
        /// Keep the rest: the packet that it begins with has a question, and reading goes on once it is answered.
        case ask
        /// Keep the rest and do not read on before an output entry resumes.
        case wait
        /// Nothing that still comes is looked at.
        case ignore
    }

    package let consumed: Int
    package let next: Next
}

extension BrokerCore {
    /// Handles the packets in a burst, up to the first that is not whole.
    package mutating func receive(_ burst: ByteBuffer, from id: ConnectionID, at now: Int64) -> Received {
        self.now = now
        guard let c = index(id), connections[c].state != .closing else {
            return Received(consumed: burst.readableBytes, next: .ignore)
        }
        connections[c].lastReceived = now
        connections[c].isSuspect = false
        guard !connections[c].isAsking else { return wait(c, consumed: 0) }
        budget = limits.deliveriesPerTurn
        let received = receive(burst.readableBytesUInt8Span, c)
        statistics.bytesReceived &+= UInt64(received.consumed)
        connections[c].bytesReceived &+= UInt64(received.consumed)
        return received
    }

    /// More of a packet has come, which is not whole yet: no packet, but a sign of life.
    package mutating func receivedPart(from id: ConnectionID, at now: Int64) {
        self.now = now
        guard let c = index(id) else { return }
        connections[c].lastReceived = now
        connections[c].isSuspect = false
        connections[c].partSince = now
    }

    private mutating func receive(_ bytes: Span<UInt8>, _ c: Int) -> Received {
        var at = 0
        while at < bytes.count {
            switch connections[c].state {
            case .closing, .free: return Received(consumed: bytes.count, next: .ignore)
            case .awaitingCommit: return wait(c, consumed: at)
            case .awaitingConnect, .connected: break
            }
            if budget <= 0 { return Received(consumed: at, next: .again) }
            if !connections[c].isWritable && owesTooMuchReading(c) { return wait(c, consumed: at) }
            if connections[c].isReplaying && !owesAcknowledgements(c) { return wait(c, consumed: at) }
            if isToWaitForCommit(c) {
                pauseForCommit(c)
                return wait(c, consumed: at)
            }
            if isHolding && holdsTooMuch(c) { return wait(c, consumed: at) }
            let before = ticket
            do throws(DecodingError) {
                guard let packetBytes = try receivePacket(bytes, at: at, c) else { break }
                at &+= packetBytes
                if ticket > before { connections[c].lastTicket = ticket }
            } catch {
                fail(c, error, bytes, at)
            }
        }
        if connections[c].isAsking { return wait(c, consumed: at, next: .ask) }
        if connections[c].state == .awaitingConnect && held[Int32(c)] != nil { return wait(c, consumed: at) }
        connections[c].partSince = at < bytes.count ? now : -1
        return connections[c].state == .closing
            ? Received(consumed: bytes.count, next: .ignore) : Received(consumed: at, next: .read)
    }

    /// A client that does not take its answers is not read from.
    @inline(__always)
    private func owesTooMuchReading(_ c: Int) -> Bool {
        let isOver = statistics.unsentBytes >= limits.sendBufferBytesInAllMax
        return connections[c].output.bytes > (isOver ? 0 : limits.sendBufferBytesUnread)
    }

    /// What it is owed may wait for its acknowledgements: not to read them would be to wait for ever.
    @inline(__always)
    private func owesAcknowledgements(_ c: Int) -> Bool { sessions[session(of: c)].state.outbound.inFlight > 0 }

    @inline(__always)
    func isToWaitForCommit(_ c: Int) -> Bool {
        let isUncommitted = connections[c].uncommittedBytes > 0 || connections[c].lastTicket > committed
        guard isUncommitted else { return false }
        return connections[c].uncommittedBytes >= limits.uncommittedBytesMax
            || statistics.uncommittedBytes >= limits.uncommittedBytesInAllMax || isPublishedFull
    }

    mutating func pauseForCommit(_ c: Int) {
        guard !connections[c].isPausedForCommit else { return }
        pausedForCommit.append(id(c))
        connections[c].isPausedForCommit = true
    }

    private mutating func wait(_ c: Int, consumed: Int, next: Received.Next = .wait) -> Received {
        connections[c].isReadingPaused = true
        // Of a packet that is not read nobody knows how much has come.
        connections[c].partSince = -1
        return Received(consumed: consumed, next: next)
    }

    /// Handles the packet that begins at `at`, and gives its length; nil while it is not whole.
    private mutating func receivePacket(_ bytes: Span<UInt8>, at: Int, _ c: Int) throws(DecodingError) -> Int? {
        let version = connections[c].version
        guard connections[c].state == .connected else { return try receiveFirst(bytes, at: at, c) }
        guard let header = try FixedHeader.read(bytes, at: at, packetBytesMax: limits.packetBytesMax) else {
            return nil
        }
        let kind = try PacketDecoder.checkFlags(header, version: version)
        try checkSize(header, kind)
        guard bytes.count &- at >= header.packetBytes else { return nil }
        if isGated, !(try decide(bytes, at: at, header, kind, c)) { return nil }
        budget &-= 1
        statistics.packetsReceived &+= 1
        if isHolding, try hold(bytes, at: at, header, kind, c) { return header.packetBytes }
        try handle(bytes, at: at, header, kind, c)
        return header.packetBytes
    }

    /// A whole packet of a connection that has sent CONNECT before.
    @inline(__always)
    mutating func handle(
        _ bytes: Span<UInt8>,
        at: Int,
        _ header: FixedHeader,
        _ kind: PacketKind,
        _ c: Int
    ) throws(DecodingError) {
        if isGated, let verdict { return try handle(bytes, at: at, header, kind, verdict, c) }
        let version = connections[c].version
        switch kind {
        case .publish:
            try publishReceived(bytes, try PublishView(bytes, at: at, header: header, version: version), c)
        case .puback, .pubrec, .pubrel, .pubcomp:
            let answer = try PacketDecoder.acknowledgement(bytes, at: at, header: header, kind: kind, version: version)
            received(answer, kind, c)
        default:
            let packet = try PacketDecoder.decode(
                bytes,
                at: at,
                header: header,
                version: version,
                filtersMax: limits.filtersMax
            )
            try received(packet, c)
        }
    }

    /// Only a PUBLISH has a payload: other packets are decoded whole, in one turn.
    @inline(__always)
    private func checkSize(_ header: FixedHeader, _ kind: PacketKind) throws(DecodingError) {
        let most =
            switch kind {
            case .publish: limits.packetBytesMax
            case .subscribe, .unsubscribe: limits.subscribeBytesMax
            default: limits.controlBytesMax
            }
        guard header.packetBytes <= most else {
            throw DecodingError(.packetTooLarge, "\(kind) of \(header.packetBytes) bytes")
        }
    }

    /// The first packet has to be CONNECT, and is looked at as such from its first byte [MQTT-3.1.0-1].
    private mutating func receiveFirst(_ bytes: Span<UInt8>, at: Int, _ c: Int) throws(DecodingError) -> Int? {
        if isGated { return try receiveFirstAsked(bytes, at: at, c: c) }
        guard let header = try connectHeader(bytes, at: at) else { return nil }
        let wasHeld = !held.isEmpty && held[Int32(c)] != nil
        if !wasHeld {
            statistics.packetsReceived &+= 1
            statistics.connects &+= 1
        }
        if case .connect(let connect) = try PacketDecoder.decode(bytes, at: at, header: header, version: .v5) {
            guard !hold(connect, c) else { return nil }
            connectReceived(connect, c)
        }
        return header.packetBytes
    }

    /// Nil while CONNECT is not whole.
    func connectHeader(_ bytes: Span<UInt8>, at: Int) throws(DecodingError) -> FixedHeader? {
        guard bytes[at] == PacketKind.connect.rawValue << 4 else { throw .protocolError("first packet is no CONNECT") }
        let packetBytesMax = min(limits.connectBytesMax, limits.packetBytesMax)
        let header = try FixedHeader.read(bytes, at: at, packetBytesMax: packetBytesMax)
        guard let header, bytes.count - at >= header.packetBytes else { return nil }
        return header
    }

    private mutating func received(_ answer: Acknowledgement, _ kind: PacketKind, _ c: Int) {
        switch kind {
        case .puback: pubackReceived(answer, c)
        case .pubrec: pubrecReceived(answer, c)
        case .pubrel: pubrelReceived(answer, c)
        default: pubcompReceived(answer, c)
        }
    }

    private mutating func received(_ packet: Packet, _ c: Int) throws(DecodingError) {
        switch packet {
        case .subscribe(let subscribe): try subscribeReceived(subscribe, [], c)
        case .unsubscribe(let unsubscribe): unsubscribeReceived(unsubscribe, c)
        case .pingreq:
            emit(c) { .pingReceived($0) }
            answer(c, .pingresp)
        case .disconnect(let disconnect): try disconnectReceived(disconnect, c)
        case .auth:
            // Without a hook no method was ever agreed upon, so AUTH has no place here (4.12).
            throw .protocolError("AUTH without an authentication method")
        case .connect: throw .protocolError("a second CONNECT")  // [MQTT-3.1.0-2]
        case .publish, .puback, .pubrec, .pubrel, .pubcomp, .connack, .suback, .unsuback, .pingresp:
            throw .protocolError("\(packet.kind) from a client")
        }
    }

    /// Tells the client what it did wrong, as far as its version has a way to, and ends the connection [MQTT-4.13.1-1].
    private mutating func fail(_ c: Int, _ error: DecodingError, _ bytes: Span<UInt8>, _ at: Int) {
        if connections[c].state == .connected {
            return disconnect(c, error.reasonCode, explanation: error.explanation)
        }
        let level = PacketDecoder.connectLevel(bytes.extracting(at..<bytes.count))
        if error.reasonCode == .unsupportedProtocolVersion {
            refuse(c, error.reasonCode, version: level ?? 0 > ProtocolVersion.v5.rawValue ? .v5 : .v3_1_1)
        } else if level == ProtocolVersion.v5.rawValue {
            refuse(c, error.reasonCode, version: .v5)
        } else {
            end(c, .broker(error.reasonCode, explanation: error.explanation))  // [MQTT-3.1.4-1]
        }
    }

    /// Whether a 5.0 client takes a packet of this size. Few set a limit that an answer could reach.
    @inline(__always)
    func fits(_ packet: Packet, _ c: Int) -> Bool {
        let most = connections[c].packetBytesMax
        return most > 1 << 20 || PacketEncoder(version: connections[c].version).encode(packet).readableBytes <= most
    }

    /// Sends an answer, behind those that still wait for a commit.
    mutating func answer(_ c: Int, _ packet: Packet, after ticket: UInt64 = 0) {
        guard fits(packet, c) else {
            let explanation = "an answer is larger than the client's maximum packet size"
            return disconnect(c, .implementationSpecificError, explanation: explanation)  // [MQTT-3.1.2-24]
        }
        if !connections[c].waiting.isEmpty || ticket > committed {
            wait(c, WaitingAnswer(ticket: ticket, answer: .packet(packet)))
        } else {
            write(packet, to: c)
        }
    }
}
