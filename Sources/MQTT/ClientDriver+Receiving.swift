import MQTTPackets
import MQTTSessions
import NIOCore

extension ClientDriver {
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
        var run = Run(burst)
        defer { end(&run) }
        var at = 0
        while handler != nil, !hasStore || !session.isHeld,
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
                try publishReceived(bytes, at: at, header, &run)
            } else {
                // It may end the connection, which hands over what has come.
                end(&run)
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
            if case .connack(let connack) = packet { return try happened(session.connackReceived(connack)) }
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

    /// Messages of one burst that go to the same sequence: its share of the burst is at hand as long as they come.
    private struct Run {
        var payloads: PayloadCutter
        var sink: Sink?
        var messages = MessageBurst()

        init(_ burst: ByteBuffer) { payloads = PayloadCutter(burst) }
    }

    private func begin(_ run: inout Run, _ sink: Sink) {
        end(&run)
        touch(sink)
        sink.swapBurst(&run.messages)
        run.sink = sink
    }

    private func end(_ run: inout Run) {
        run.sink?.swapBurst(&run.messages)
        run.sink = nil
    }

    private func touch(_ sink: Sink) {
        guard !sink.isTouched else { return }
        sink.isTouched = true
        touched.append(sink)
    }

    private func publishReceived(
        _ bytes: Span<UInt8>,
        at start: Int,
        _ header: FixedHeader,
        _ run: inout Run
    ) throws(DecodingError) {
        let view = try PublishView(bytes, at: start, header: header, version: version)
        let route = try route(view, bytes)
        var receipt: Receipt?
        if view.qos != .atMostOnce {
            let arrival = try session.publishArrived(qos: view.qos, packetID: view.packetID)
            guard case .deliver(let given) = arrival else { return }
            receipt = given
        }
        if let sink = route.sole {
            let properties = hasOwnProperties(view) ? try properties(view, bytes).own : Properties()
            if run.sink !== sink { begin(&run, sink) }
            let payload = run.payloads.cut(view.payload, bytes)
            run.messages.append(message(view, route, payload, properties, receipt))
            return
        }
        end(&run)
        let (properties, identifiers) = try properties(view, bytes)
        let sinks = sinks(route, identifiers)
        guard !sinks.isEmpty else {
            // Nobody is there for it: it would hold back all others.
            metrics.dropped(1)
            if let receipt { session.acknowledge(receipt) }
            return
        }
        let all = sinks.count > 1 && receipt != nil ? SharedAcknowledgement(sinks.count) : nil
        let payload = run.payloads.cut(view.payload, bytes)
        for (at, sink) in sinks.enumerated() {
            touch(sink)
            sink.add(message(view, route, payload, properties, receipt, share: all.map { ($0, at) }))
        }
    }

    @inline(__always)
    private func message(
        _ view: PublishView,
        _ route: SubscriptionTable.Route,
        _ payload: ByteBuffer,
        _ properties: Properties,
        _ receipt: Receipt?,
        share: (SharedAcknowledgement, Int)? = nil
    ) -> MQTTMessage {
        MQTTMessage(
            topic: route.topic,
            payload: payload,
            qos: view.qos,
            isRetained: view.isRetained,
            isDuplicate: view.isDuplicate,
            properties: properties,
            acknowledgement: receipt.map { .init(receipt: $0, outbox: outbox, share: share) }
        )
    }

    private func route(_ view: PublishView, _ bytes: Span<UInt8>) throws(DecodingError) -> SubscriptionTable.Route {
        guard view.topicAlias != 0 else { return table.route(bytes.extracting(view.topic)) }
        if view.topic.isEmpty, let known = table.route(alias: view.topicAlias) { return known }
        let given = view.topic.isEmpty ? nil : bytes.string(in: view.topic)
        let topic = Array(try session.topic(given, alias: view.topicAlias).utf8)
        let route = table.route(topic.span)
        table.note(route, alias: view.topicAlias)
        return route
    }

    /// Whether there are properties for the application. An alias takes three bytes, an identifier at least two.
    private func hasOwnProperties(_ view: PublishView) -> Bool {
        view.properties.count > (view.topicAlias == 0 ? 0 : 3) + (view.hasSubscriptionIdentifiers ? 2 : 0)
    }

    /// The properties for the application, and the subscription identifiers.
    private func properties(
        _ view: PublishView,
        _ bytes: Span<UInt8>
    ) throws(DecodingError) -> (own: Properties, identifiers: [UInt32]) {
        guard !view.properties.isEmpty else { return (Properties(), []) }
        var identifiers: [UInt32] = []
        var hasOthers = false
        var cursor = PacketCursor(at: view.properties.lowerBound, end: view.properties.upperBound)
        while cursor.remaining > 0 {
            var seen: UInt64 = 0
            let property = try cursor.property(bytes, in: .publish, seen: &seen)
            switch property.identifier {
            case .subscriptionIdentifier: identifiers.append(property.integer)
            case .topicAlias: break
            default: hasOthers = true
            }
        }
        guard hasOthers else { return (Properties(), identifiers) }
        var properties = try Properties(decoding: bytes, view.properties, in: .publish)
        properties.removeAll(.subscriptionIdentifier)
        properties.removeAll(.topicAlias)
        return (properties, identifiers)
    }

    /// The sequences that get a message: of the filters that match, those that the server names, where it names any.
    /// Matching comes first, since a session of an earlier process may have given the same identifiers to other filters.
    private func sinks(_ route: SubscriptionTable.Route, _ identifiers: [UInt32]) -> [Sink] {
        guard !route.entries.isEmpty else { return unclaimed.map { [$0] } ?? [] }
        let named = route.entries.filter { identifiers.contains($0.identifier) }
        var sinks: [Sink] = []
        // Identifiers that none of them has are an earlier process's.
        for entry in named.isEmpty ? route.entries : named {
            for sink in entry.sinks where !sinks.contains(where: { $0 === sink }) { sinks.append(sink) }
        }
        return sinks
    }

    /// Hands what came to the sequences: one lock and at most one task woken for each.
    func handOver() {
        guard !touched.isEmpty else { return }
        let dropsExcess = isAwaited
        for sink in touched {
            let (messages, dropped, isFull) = sink.handOver(dropsExcess: dropsExcess)
            metrics.delivered(messages)
            if dropped > 0 { metrics.dropped(dropped) }
            if isFull != sink.isFull {
                sink.isFull = isFull
                fullSinks += isFull ? 1 : -1
            }
        }
        touched.removeAll(keepingCapacity: true)
    }
}
