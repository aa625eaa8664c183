import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore
import NIOCore

extension BrokerCore {
    /// Bytes of a queue that is not full when all queues together are.
    private static var queuedBytesUnlimited: Int { 64 << 10 }
    /// Bytes of a send buffer that takes more although all together are full.
    private static var sendBufferBytesUnlimited: Int { 16 << 10 }

    /// Gives a message to one session: into its connection's send buffer at QoS 0, through its queue at QoS 1 and 2.
    /// False where the queue is full.
    mutating func deliver(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ publication: inout Publication,
        to receiver: Receiver,
        _ identifiers: [UInt32],
        group: UInt32 = 0
    ) -> Bool {
        let s = Int(receiver.session)
        if !sessions[s].replays.isEmpty { pullForward(bytes.extracting(view.topic), s) }
        return deliverOwed(bytes, view, &publication, to: receiver, identifiers, group: group)
    }

    /// The same, where no retained message of the topic has to go first.
    mutating func deliverOwed(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ publication: inout Publication,
        to receiver: Receiver,
        _ identifiers: [UInt32],
        group: UInt32 = 0
    ) -> Bool {
        budget &-= 1
        let s = Int(receiver.session)
        if asksToForward, !mayForward(bytes, view, &publication, s) { return true }
        let qos = min(view.qos, receiver.qos)  // [MQTT-3.8.4-8]
        let isRetained = receiver.retainAsPublished && view.isRetained  // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
        if qos == .atMostOnce {
            deliverAtMostOnce(bytes, view, &publication, s, isRetained, identifiers)
            return true
        }
        return enqueue(makeMessage(&publication, bytes, view), qos, isRetained, identifiers, group: group, s)
    }

    private mutating func deliverAtMostOnce(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ publication: inout Publication,
        _ s: Int,
        _ isRetained: Bool,
        _ identifiers: [UInt32]
    ) {
        let c = Int(sessions[s].connection)
        guard c >= 0 else {
            let cause: DropCause = sessions[s].isOver ? .sessionEnded : .offline
            return drop(cause, s, bytes: view.payload.count, of: observedMessage(&publication, bytes, view))
        }
        guard connections[c].state == .connected, takesMore(c) else {
            return drop(.backlog, s, bytes: view.payload.count, of: observedMessage(&publication, bytes, view))
        }
        let head = PublishHead(firstByte: 0x30 | (isRetained ? 1 : 0), packetID: 0, version: connections[c].version)
        let isSent = send(
            head,
            identifiers,
            bytes,
            view,
            publication.sharedPayload,
            publication.expiresAt,
            publication.topicHash,
            c
        )
        guard isSent else {
            return drop(.tooLarge, s, bytes: view.payload.count, of: observedMessage(&publication, bytes, view))
        }
        statistics.copiesCompleted &+= 1
    }

    /// Whether there is room in a connection's send buffer for another message.
    @inline(__always)
    func takesMore(_ c: Int) -> Bool {
        let held = connections[c].output.bytes &+ connections[c].bytesInTransport
        return held < limits.sendBufferBytesMax
            && (statistics.unsentBytes < limits.sendBufferBytesInAllMax || held < Self.sendBufferBytesUnlimited)
    }

    /// Writes a PUBLISH, with an alias where the client takes them. False where it is larger than the client takes:
    /// then it counts as sent [MQTT-3.1.2-25].
    private mutating func send(
        _ publishHead: PublishHead,
        _ identifiers: [UInt32],
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ shared: ByteBuffer?,
        _ expiresAt: Int64,
        _ topicHash: UInt64,
        _ c: Int
    ) -> Bool {
        var head = publishHead
        if head.version == .v5 && expiresAt != .max {
            head.expiry = UInt32(clamping: (max(0, expiresAt - now) + 999) / 1_000)  // [MQTT-3.3.2-6]
        }
        head.measure(view, identifiers)
        guard head.packetBytes <= connections[c].packetBytesMax else { return false }
        // Three more bytes for a new alias always fit where the client sets no limit near by.
        if connections[c].aliasesOut.maximum > 0 && head.packetBytes + 4 <= connections[c].packetBytesMax {
            switch connections[c].aliasesOut.use(bytes.extracting(view.topic), hash: topicHash) {
            case .none: break
            case .define(let alias): head.alias = alias
            case .use(let alias):
                head.alias = alias
                head.includesTopic = false
            }
            head.measure(view, identifiers)
        }
        let before = connections[c].output.bytes
        connections[c].output.appendPublish(head, identifiers, bytes, view, sharing: shared)
        wrote(c, since: before)
        statistics.publishSent &+= 1
        connections[c].publishSent &+= 1
        statistics.publishBytesSent &+= UInt64(view.payload.count)
        return true
    }

    /// Puts a QoS 1 or 2 message into a session's queue, and on its way if its turn is now. False where the queue is full.
    private mutating func enqueue(
        _ message: Message,
        _ qos: QoS,
        _ isRetained: Bool,
        _ identifiers: [UInt32],
        group: UInt32,
        _ s: Int
    ) -> Bool {
        guard !sessions[s].isOver else {
            drop(.sessionEnded, s, bytes: message.view.payload.count, of: message)
            return true
        }
        guard hasRoom(s) || dropExpired(s) || makeRoom(s, bytes: message.bytesHeld) else {
            drop(.queueFull, s, bytes: message.view.payload.count, of: message)
            return false
        }
        if configuration.isDurable { change(s, queueing: message, qos, isRetained, identifiers, group) }
        let ticket = sessions[s].hasStoredQueue ? ticket : 0
        if sessions[s].hasStoredQueue && !hasRoomInWindow(s) {
            withQueue(s) { $0.outbound.appendStored(bytes: message.bytesHeld, ticket: ticket, isShared: group > 0) }
            requestPage(s)
            return true
        }
        withQueue(s) {
            $0.outbound.append(
                message,
                qos: qos,
                isRetained: isRetained,
                identifiers: identifiers,
                ticket: ticket,
                group: group
            )
        }
        let c = Int(sessions[s].connection)
        if c >= 0 && connections[c].state == .connected { pump(c) }
        return true
    }

    @inline(__always)
    func hasRoom(_ s: Int) -> Bool {
        let (queued, bytes) = (sessions[s].state.outbound.queued, sessions[s].state.outbound.bytesQueued)
        let isStored = sessions[s].hasStoredQueue
        return Self.hasRoom(queued, bytes, isStored: isStored, queuedBytesInAll: statistics.queuedBytes, limits)
    }

    private func hasRoomOfItsOwn(_ s: Int) -> Bool {
        let (queued, bytes) = (sessions[s].state.outbound.queued, sessions[s].state.outbound.bytesQueued)
        return Self.hasRoom(queued, bytes, isStored: sessions[s].hasStoredQueue, queuedBytesInAll: 0, limits)
    }

    /// What the store has takes no room in memory.
    @inline(__always)
    static func hasRoom(
        _ queued: Int,
        _ bytes: Int,
        isStored: Bool,
        queuedBytesInAll: Int,
        _ limits: Limits
    ) -> Bool {
        if isStored { return queued < limits.storedMessagesMax && bytes < limits.storedBytesMax }
        return queued < limits.queuedMessagesMax && bytes < limits.queuedBytesMax
            && (queuedBytesInAll < limits.queuedBytesInAllMax || bytes < queuedBytesUnlimited)
    }

    /// Expired messages take no room from new ones. True where there is room without those at the queue's head.
    private mutating func dropExpired(_ s: Int) -> Bool {
        while let oldest = sessions[s].state.outbound.oldestUnsent, oldest.expiresAt <= now {
            guard let dropped = withQueue(s, { $0.outbound.dropOldest() }) else { return false }
            budget -= 1
            drop(.expired, s, bytes: dropped.payloadBytes, of: oldest)  // [MQTT-3.3.2-5]
            changeFinished(dropped.number, s)
            if hasRoom(s) { return true }
        }
        // What is next is not known before it has been read.
        if sessions[s].state.outbound.oldestUnsent == nil { requestPage(s) }
        return false
    }

    /// Does with a full queue what the policy says. False where the new message is to be dropped.
    private mutating func makeRoom(_ s: Int, bytes: Int) -> Bool {
        switch configuration.queuePolicy {
        case .dropNewest: return false
        case .dropOldest:
            // Where it is all queues together that are full, this one gives no more than what it takes.
            let enough = sessions[s].state.outbound.bytesQueued - bytes
            while !hasRoom(s) && !(hasRoomOfItsOwn(s) && sessions[s].state.outbound.bytesQueued <= enough) {
                let oldestMessage = isObserved ? sessions[s].state.outbound.oldestUnsent : nil
                guard let oldest = withQueue(s, { $0.outbound.dropOldest() }) else { return false }
                drop(.queueFull, s, bytes: oldest.payloadBytes, of: oldestMessage)
                changeFinished(oldest.number, s)
            }
            return true
        case .disconnect:
            let c = Int(sessions[s].connection)
            guard c >= 0, !connections[c].isOverflowing else { return false }
            // Not in the middle of a fan-out.
            connections[c].isOverflowing = true
            timers.insert(Timer(due: now, kind: .overflow(id(c))))
            return false
        }
    }

    /// What `body` does to a session's queue counts in the figures of all queues.
    mutating func withQueue<Value>(_ s: Int, _ body: (inout BrokerSession) -> Value) -> Value {
        let (bytes, unfinished) = (sessions[s].state.outbound.bytesHeld, sessions[s].state.outbound.unfinished)
        let bytesStored = sessions[s].state.outbound.stored.bytes
        let value = body(&sessions[s].state)
        let more = sessions[s].state.outbound.bytesHeld &- bytes
        statistics.queuedBytes &+= more
        if sessions[s].hasStoredQueue {
            statistics.queuedBytesInWindows &+= more
            statistics.queuedBytesInStore &+= sessions[s].state.outbound.stored.bytes &- bytesStored
        }
        statistics.copiesUnfinished &+= sessions[s].state.outbound.unfinished &- unfinished
        return value
    }

    /// Sends what quota, commit and send buffer allow: redeliveries, then the queue, then retained messages still owed.
    ///
    /// A replay's step queues a message, which asks for a pump again: the one that runs already goes on with it.
    mutating func pump(_ c: Int) {
        guard !connections[c].isPumping, connections[c].state == .connected else { return }
        connections[c].isPumping = true
        let s = session(of: c)
        pump(s, c)
        if sessions[s].state.outbound.stored.count > 0 { requestPage(s) }
        connections[c].isPumping = false
        if !connections[c].isReady { becomeReadyIfDrained(s, c) }
    }

    private mutating func pump(_ s: Int, _ c: Int) {
        let mayBeSent = configuration.skippedWaits.isDisjoint(with: .publishExactlyOnce) ? committed : .max
        while true {
            guard connections[c].output.bytes < limits.sendBufferBytesPaced, takesMore(c) else {
                return becomeHungry(c)
            }
            // What a client does not take is not added to: it goes on when it is writable again.
            guard connections[c].isWritable else { return }
            let (quota, bytesMax, committed) = (connections[c].sendQuota, limits.inFlightBytesMax, mayBeSent)
            let lastTicket = sessions[s].lastTicket
            let step = withQueue(s) {
                $0.outbound.nextStep(quota: quota, bytesMax: bytesMax, committed: committed, lastTicket: lastTicket)
            }
            switch step {
            case .mark(let number): raiseSendMark(s, from: number)
            case .publish:
                // What is not sent, but dropped, takes from the turn all the same.
                if !sendNext(s, c) {
                    budget -= 1
                    guard budget > 0 else { return becomeHungry(c) }
                }
            case .release(let number):
                sessions[s].state.outbound.released()
                answer(
                    c,
                    .pubrel(Acknowledgement(packetID: OutboundQueue.packetID(number))),
                    after: awaited(sessions[s].lastTicket, .pubrel)
                )
            case .nothing:
                guard !sessions[s].replays.isEmpty, sessions[s].state.outbound.stored.count == 0 else { return }
                guard budget > 0 else { return becomeHungry(c) }
                guard continueReplay(s, c) else { return }
            }
        }
    }

    /// Sends what is next in the queue. False where it was dropped.
    private mutating func sendNext(_ s: Int, _ c: Int) -> Bool {
        let (entry, carried, identifiers) = sessions[s].state.outbound.next()
        guard let message = carried else {
            finish(entry.number, s)
            return false
        }
        // What was begun is completed, although expired [MQTT-4.3.3-7].
        if message.expiresAt <= now && !entry.isBegun {
            drop(.expired, s, bytes: message.view.payload.count, of: message)  // [MQTT-3.3.2-5]
            finish(entry.number, s)
            return false
        }
        let firstByte = 0x30 | entry.qos.rawValue << 1 | (entry.isRetained ? 1 : 0) | (entry.isBegun ? 8 : 0)
        let head = PublishHead(
            firstByte: firstByte,
            packetID: OutboundQueue.packetID(entry.number),
            version: connections[c].version
        )
        let bytes = message.bytes
        let isSent = send(
            head,
            identifiers,
            bytes.span,
            message.view,
            message.largePayload,
            message.expiresAt,
            message.topicHash,
            c
        )
        if isSent {
            sessions[s].state.outbound.published()
        } else {
            drop(.tooLarge, s, bytes: message.view.payload.count, of: message)
            if entry.isBegun && entry.qos == .exactlyOnce { retire(head.packetID, s) }
            finish(entry.number, s)
        }
        return isSent
    }

    mutating func finish(_ number: UInt64, _ s: Int) {
        withQueue(s) { $0.outbound.finish(number) }
        changeFinished(number, s)
    }

    // MARK: Answers of receivers

    mutating func pubackReceived(_ answer: Acknowledgement, _ c: Int) {
        let s = session(of: c)
        let message = awaitingAcknowledgement(answer, s)
        guard case .finished(let number) = withQueue(s, { $0.pubackReceived(answer.packetID) }) else { return }
        statistics.copiesCompleted &+= 1
        emitDelivered(message, c)
        changeFinished(number, s)
        pump(c)
    }

    mutating func pubrecReceived(_ received: Acknowledgement, _ c: Int) {
        let s = session(of: c)
        let isError = received.reasonCode.isError
        let message = awaitingAcknowledgement(received, s)
        switch withQueue(s, { $0.pubrecReceived(received.packetID, isError: isError) }) {
        case .finished(let number):
            statistics.copiesCompleted &+= 1
            changeFinished(number, s)
            pump(c)
        case .release(let number):
            emitDelivered(message, c)
            change(s) { .received(incarnation: $0, number: number) }
            sendAnswer(c, .pubrel, received.packetID, .success, s)
        case .unknown:
            guard !received.reasonCode.isError else { return }
            sendAnswer(c, .pubrel, received.packetID, .packetIdentifierNotFound, s)
        }
    }

    mutating func pubrelReceived(_ received: Acknowledgement, _ c: Int) {
        let s = session(of: c)
        let isKnown = sessions[s].state.pubrelReceived(received.packetID)
        if isKnown { change(s) { .packetReleased(incarnation: $0, packetID: received.packetID) } }
        sendAnswer(c, .pubcomp, received.packetID, isKnown ? .success : .packetIdentifierNotFound, s)
    }

    mutating func pubcompReceived(_ answer: Acknowledgement, _ c: Int) {
        let s = session(of: c)
        guard case .finished(let number) = withQueue(s, { $0.pubcompReceived(answer.packetID) }) else { return }
        statistics.copiesCompleted &+= 1
        changeFinished(number, s)
        pump(c)
    }

    /// PUBREL or PUBCOMP: it waits for the last change of its session.
    private mutating func sendAnswer(_ c: Int, _ kind: PacketKind, _ id: UInt16, _ reason: ReasonCode, _ s: Int) {
        let needed = awaited(sessions[s].lastTicket, kind == .pubrel ? .pubrel : .pubcomp)
        if needed > committed || !connections[c].waiting.isEmpty {
            return wait(c, WaitingAnswer(ticket: needed, answer: .acknowledgement(kind, id, reason)))
        }
        writeAnswer(kind.rawValue << 4 | kind.reservedFlags, id, reason, to: c)
    }
}
