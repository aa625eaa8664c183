import MQTTPackets
import MQTTSessions
import NIOCore

extension ClientDriver {
    /// Payloads that fill at least this part of what was read with them are slices of it; smaller ones are copied, or
    /// one kept message would keep a whole read buffer.
    private static let slicedPart = 2

    /// Bytes have come.
    func received(_ bytes: ByteBuffer) {
        hasReceived = true
        metrics.received(bytes.readableBytes)
        if rest.readableBytes > 0 { rest.writeImmutableBuffer(bytes) } else { rest = bytes }
        turn { handleRest() }
    }

    /// Handles what has come, as far as it is complete and may be looked at.
    func handleRest() {
        guard rest.readableBytes > 0, rest.readableBytes >= restWanted else { return }
        do throws(DecodingError) {
            let consumed = try handle(rest)
            keepRest(consumed)
        } catch {
            rest = ByteBuffer()
            violated(error)
        }
    }

    /// A packet that has come in part gets storage of its own: it may stay long, and the burst is large.
    private func keepRest(_ consumed: Int) {
        rest.moveReaderIndex(forwardBy: min(consumed, rest.readableBytes))
        restWanted = 0
        guard rest.readableBytes > 0 else {
            rest = ByteBuffer()
            return
        }
        // That the header is in order was found out before.
        let header = try? FixedHeader.read(rest.readableBytesUInt8Span, at: 0, packetBytesMax: .max)
        restWanted = header.flatMap { $0 }?.packetBytes ?? 0
        guard consumed > 0 else { return }
        // Room for all of it once half is there: what a header says alone costs no memory.
        let isMostlyThere = restWanted / 2 <= rest.readableBytes
        var kept = ByteBuffer()
        kept.reserveCapacity(isMostlyThere ? max(restWanted, rest.readableBytes) : rest.readableBytes)
        kept.writeImmutableBuffer(rest)
        rest = kept
    }

    /// Handles all packets that are complete, and gives how many bytes they had.
    private func handle(_ burst: ByteBuffer) throws(DecodingError) -> Int {
        let bytes = burst.readableBytesUInt8Span
        let packetBytesMax = Int(configuration.packetBytesMax ?? 268_435_460)
        var at = 0
        while handler != nil, storing == nil || !session.isHeld,
            let header = try FixedHeader.read(bytes, at: at, packetBytesMax: packetBytesMax)
        {
            guard let kind = header.kind else { throw .malformed("packet type 0") }
            if !isConnected { try session.checkOrder(kind) }
            guard bytes.count - at >= header.packetBytes else {
                try PacketDecoder.checkFlags(header, version: version)
                break
            }
            if traces { trace("received", kind, bytes: header.packetBytes) }
            if kind == .publish {
                try publishReceived(bytes, at: at, header, burst)
            } else {
                try packetReceived(bytes, at: at, header, kind)
            }
            at += header.packetBytes
        }
        return at
    }

    private func packetReceived(
        _ bytes: Span<UInt8>,
        at start: Int,
        _ header: FixedHeader,
        _ kind: PacketKind
    ) throws(DecodingError) {
        switch kind {
        case .puback, .pubrec, .pubcomp, .pubrel:
            try PacketDecoder.checkFlags(header, version: version)
            let answer = try PacketDecoder.acknowledgement(
                bytes,
                at: start,
                header: header,
                kind: kind,
                version: version
            )
            acknowledgementReceived(kind, answer.packetID, answer.reasonCode)
        default:
            let packet = try PacketDecoder.decode(bytes, at: start, header: header, version: version)
            guard let event = try session.received(packet) else { return }
            try happened(event)
        }
    }

    private func acknowledgementReceived(_ kind: PacketKind, _ packetID: UInt16, _ reasonCode: ReasonCode) {
        switch kind {
        case .puback:
            if let number = session.pubackReceived(packetID) { published(number, reasonCode) }
        case .pubrec:
            if let number = session.pubrecReceived(packetID, reasonCode) { published(number, reasonCode) }
        case .pubcomp:
            if let number = session.pubcompReceived(packetID) { published(number, .success) }
        default: session.pubrelReceived(packetID)
        }
    }

    private func happened(_ event: ClientSession.Event) throws(DecodingError) {
        switch event {
        case .connected(let connack): connackReceived(connack)
        case .subscribed(let suback): try subackReceived(suback)
        case .unsubscribed(let unsuback): try unsubackReceived(unsuback)
        case .pong: pingIsOutstanding = false
        case .disconnected(let disconnect): disconnectReceived(disconnect)
        case .authentication(let auth): try authReceived(auth)
        // They do not come through packets that are decoded whole.
        case .message, .published: break
        }
    }

    // MARK: Messages

    private func publishReceived(
        _ bytes: Span<UInt8>,
        at start: Int,
        _ header: FixedHeader,
        _ burst: ByteBuffer
    ) throws(DecodingError) {
        let view = try PublishView(bytes, at: start, header: header, version: version)
        let route = try route(view, bytes)
        guard case .deliver(let receipt) = try session.publishArrived(qos: view.qos, packetID: view.packetID) else {
            return
        }
        let (properties, sinks) = try propertiesAndSinks(view, bytes, route)
        guard let first = sinks.first else {
            // Nobody is there for it: it would hold back all others.
            metrics.dropped(1)
            if let receipt { session.acknowledge(receipt) }
            return
        }
        let message = MQTTMessage(
            topic: route.topic,
            payload: payload(view, bytes, burst),
            qos: view.qos,
            isRetained: view.isRetained,
            isDuplicate: view.isDuplicate,
            properties: properties,
            acknowledgement: receipt.map {
                MQTTMessage.Acknowledgement(
                    receipt: $0,
                    outbox: outbox,
                    others: sinks.count > 1 ? SharedCount(sinks.count) : nil
                )
            }
        )
        give(message, to: first)
        for sink in sinks.dropFirst() { give(message, to: sink) }
    }

    private func give(_ message: MQTTMessage, to sink: Sink) {
        if sink.burst.isEmpty { touched.append(sink) }
        sink.burst.append(message)
    }

    private func route(_ view: PublishView, _ bytes: Span<UInt8>) throws(DecodingError) -> SubscriptionTable.Route {
        guard view.topicAlias != 0 else { return table.route(bytes.extracting(view.topic)) }
        let given = view.topic.isEmpty ? nil : bytes.string(in: view.topic)
        let topic = Array(try session.topic(given, alias: view.topicAlias).utf8)
        return table.route(topic.span)
    }

    /// The properties for the application, and who is given the message.
    private func propertiesAndSinks(
        _ view: PublishView,
        _ bytes: Span<UInt8>,
        _ route: SubscriptionTable.Route
    ) throws(DecodingError) -> (Properties, [Sink]) {
        guard !view.properties.isEmpty else { return (Properties(), sinks(route, [])) }
        let isUnambiguous = route.sole != nil
        var identifiers: [UInt32] = []
        var hasOthers = false
        var cursor = PacketCursor(at: view.properties.lowerBound, end: view.properties.upperBound)
        while cursor.remaining > 0 {
            var seen: UInt64 = 0
            let property = try cursor.property(bytes, in: .publish, seen: &seen)
            switch property.identifier {
            case .subscriptionIdentifier: if !isUnambiguous { identifiers.append(property.integer) }
            case .topicAlias: break
            default: hasOthers = true
            }
        }
        let sinks = sinks(route, identifiers)
        guard hasOthers else { return (Properties(), sinks) }
        var properties = try Properties(decoding: bytes, view.properties, in: .publish)
        properties.removeAll(.subscriptionIdentifier)
        properties.removeAll(.topicAlias)
        return (properties, sinks)
    }

    /// The sequences that get a message: of the filters that match, those that the server names, where it names any.
    /// Matching comes first, since a session of an earlier process may have given the same identifiers to other filters.
    private func sinks(_ route: SubscriptionTable.Route, _ identifiers: [UInt32]) -> [Sink] {
        if let sole = route.sole { return sole.sinks }
        var sinks: [Sink] = []
        for entry in route.entries where identifiers.isEmpty || identifiers.contains(entry.identifier) {
            for sink in entry.sinks where !sinks.contains(where: { $0 === sink }) { sinks.append(sink) }
        }
        if sinks.isEmpty, let unclaimed { sinks = [unclaimed] }
        return sinks
    }

    private func payload(_ view: PublishView, _ bytes: Span<UInt8>, _ burst: ByteBuffer) -> ByteBuffer {
        let count = view.payload.count
        guard count > 0 else { return ByteBuffer() }
        if count >= burst.storageCapacity / Self.slicedPart,
            let slice = burst.getSlice(at: burst.readerIndex + view.payload.lowerBound, length: count)
        {
            return slice
        }
        return bytes.buffer(in: view.payload)
    }

    /// Hands what came to the sequences: one lock and at most one task woken for each.
    func handOver() {
        guard !touched.isEmpty else { return }
        let dropsExcess = isAwaited
        for sink in touched {
            metrics.delivered(sink.burst.count)
            let (dropped, isFull) = sink.buffer.append(&sink.burst, dropsExcess: dropsExcess)
            if dropped > 0 { metrics.dropped(dropped) }
            if isFull != sink.isFull {
                sink.isFull = isFull
                fullSinks += isFull ? 1 : -1
            }
        }
        touched.removeAll(keepingCapacity: true)
    }
}
