import MQTTPackets

/// What observers are told. Without one no event is made: each place asks `isObserved` first.
extension BrokerCore {
    /// From now on events are made. Gives the number of the next one.
    package mutating func beginObserving() -> UInt64 {
        isObserved = true
        return nextEvent + UInt64(observed.count)
    }

    package mutating func endObserving() { isObserved = false }

    /// All events since the last call; nil where there are none.
    package mutating func takeObserved() -> EventBatch? {
        guard !observed.isEmpty else { return nil }
        var taken: [BrokerEvent] = []
        swap(&taken, &observed)
        let batch = EventBatch(first: nextEvent, events: taken)
        nextEvent += UInt64(taken.count)
        return batch
    }

    /// `event` is made only where somebody wants it, and what host code does by itself is no client's doing.
    @inline(__always)
    mutating func emit(_ c: Int, _ event: (ClientInfo) -> BrokerEvent) {
        guard isObserved, !connections[c].isHost else { return }
        observed.append(event(connections[c].client))
    }

    /// A message that observers are told of; nil where there are none.
    @inline(__always)
    mutating func observedMessage(
        _ publication: inout Publication,
        _ bytes: Span<UInt8>,
        _ view: PublishView
    ) -> Message? {
        isObserved ? makeMessage(&publication, bytes, view) : nil
    }

    mutating func emitPublished(_ message: Message, publisher s: Int) {
        let c = s >= 0 ? Int(sessions[s].connection) : -1
        observed.append(.published(message, by: c >= 0 ? connections[c].client : nil))
    }

    /// A connection is over, with a session or without.
    mutating func emitEnded(_ c: Int, _ reason: DisconnectReason, wasAccepted: Bool) {
        guard isObserved, !connections[c].isHost else { return }
        let client = connections[c].client
        if reason.isError {
            observed.append(client.id.isEmpty ? .connectionError(client, reason) : .clientError(client, reason))
        }
        if wasAccepted { observed.append(.clientDisconnected(client, reason)) }
    }

    mutating func emitSubscribed(_ c: Int, _ filters: [Subscribe.Filter], _ reasonCodes: [ReasonCode]) {
        guard isObserved else { return }
        let granted: [Subscription] = zip(filters, reasonCodes).compactMap { filter, code in
            guard let qos = QoS(rawValue: code.rawValue) else { return nil }
            var options = filter.options
            options.qos = qos
            return Subscription(filter: filter.filter, options: options)
        }
        guard !granted.isEmpty else { return }
        emit(c) { .subscribed($0, granted) }
    }

    mutating func emitUnsubscribed(_ c: Int, _ filters: [String], _ reasonCodes: [ReasonCode]) {
        guard isObserved else { return }
        let ended = zip(filters, reasonCodes).filter { $0.1 == .success }.map(\.0)
        guard !ended.isEmpty else { return }
        emit(c) { .unsubscribed($0, filters: ended) }
    }

    /// The message that a receiver is about to acknowledge; nil where it does so again, or nobody wants to know.
    @inline(__always)
    func awaitingAcknowledgement(_ answer: Acknowledgement, _ s: Int) -> Message? {
        guard isObserved, !answer.reasonCode.isError,
            let head = sessions[s].state.outbound.head(of: answer.packetID), head.state == .sent
        else {
            return nil
        }
        return sessions[s].state.outbound[head.number].message
    }

    @inline(__always)
    mutating func emitDelivered(_ message: Message?, _ c: Int) {
        guard let message else { return }
        emit(c) { .delivered(message, to: $0) }
    }

    /// Told once for each connection, when what waited for its client is sent.
    mutating func becomeReadyIfDrained(_ s: Int, _ c: Int) {
        guard connections[c].state == .connected, sessions[s].replays.isEmpty,
            sessions[s].state.outbound.nextUnsent >= connections[c].readyAt
        else { return }
        connections[c].isReady = true
        emit(c) { .clientReady($0) }
    }
}
