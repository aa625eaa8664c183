import MQTTPackets
import MQTTSessions
import NIOCore

/// Filters that a sequence is to have, checked.
struct WantedFilters: Sendable {
    struct Filter: Sendable {
        let filter: String
        let parsed: ParsedFilter
        let options: SubscriptionOptions
    }

    let filters: [Filter]
    let properties: Properties

    init(_ filters: [Subscribe.Filter], _ properties: Properties) throws(MQTTError) {
        guard !filters.isEmpty else { throw .invalidArgument("a subscription has at least one topic filter") }
        if let stray = properties.elements.first(where: { $0.identifier != .userProperty }) {
            throw .invalidArgument("SUBSCRIBE has user properties alone, no \(stray.identifier)")
        }
        var wanted: [Filter] = []
        for filter in filters {
            do { try filter.check() } catch { throw .invalidArgument(error.explanation) }
            guard let parsed = ParsedFilter(filter.filter) else { continue }
            wanted.append(Filter(filter: filter.filter, parsed: parsed, options: filter.options))
        }
        self.filters = wanted
        self.properties = properties
    }
}

/// What one call of `unsubscribe` waits for.
final class UnsubscribeCall {
    let sink: Sink
    private var left: Int
    private var error: ReasonCode?
    private var waiter: CheckedContinuation<Result<Void, MQTTError>, Never>?

    init(_ sink: Sink, _ count: Int, _ waiter: CheckedContinuation<Result<Void, MQTTError>, Never>) {
        self.sink = sink
        left = count
        self.waiter = waiter
    }

    func cancel() {
        waiter?.resume(returning: .failure(.cancelled))
        waiter = nil
    }

    func answered(_ code: ReasonCode?) {
        if let code, code.isError { error = code }
        left -= 1
        guard left == 0 else { return }
        waiter?.resume(returning: error.map { .failure(.unsubscriptionRefused($0)) } ?? .success(()))
        waiter = nil
    }
}

extension ClientDriver {
    typealias SubscribeWaiter = CheckedContinuation<Result<[MQTTError.Grant], MQTTError>, Never>

    func subscribe(_ buffer: MessageBuffer, _ filters: WantedFilters, _ waiter: SubscribeWaiter) {
        guard !isEnding else { return waiter.resume(returning: .failure(.closed)) }
        let sink = Sink(buffer)
        let call = SubscribeCall(filters, sink, waiter)
        for filter in filters.filters {
            let entry = table.entry(filter.filter, filter.parsed, filter.options, filters.properties)
            if unwanted.remove(filter.filter) != nil { entry.mayBeAtServer = true }
            if !sink.entries.contains(where: { $0 === entry }) {
                sink.entries.append(entry)
                entry.sinks.append(sink)
            }
            entry.calls.append(call)
            entry.isInDoubt = false
            want(entry)
        }
        sendWanted()
    }

    private func want(_ entry: FilterEntry) {
        entry.state = .wanted
        wanted.append(entry)
    }

    /// One SUBSCRIBE for each filter: so each has an identifier of its own.
    private func sendWanted() {
        guard isConnected else { return }
        while let entry = wanted.popFirst() {
            guard entry.state == .wanted, table[entry.filter] === entry else { continue }
            let request = SubscribeRequest(entry)
            if let refusal = refusal(entry) {
                entry.calls = []
                answered(request, refusal)
                continue
            }
            let (filter, properties) = contents(entry)
            guard let id = session.subscribe([filter], properties: properties) else {
                // So many are under way that there is no identifier: the next answer makes room.
                wanted.prepend(entry)
                return
            }
            entry.calls = []
            entry.state = .asked
            entry.mayBeAtServer = true
            entry.unanswered += 1
            requests[id] = .subscribe(request)
        }
    }

    /// What SUBSCRIBE is to say.
    private func contents(_ entry: FilterEntry) -> (Subscribe.Filter, Properties) {
        let terms = entry.terms
        var properties = terms.properties
        if version == .v5 && session.limits.areIdentifiersAvailable {
            properties[integer: .subscriptionIdentifier] = entry.identifier
        }
        var options = terms.options
        // What the server may have is not to bring its retained messages again.
        if entry.isInDoubt && options.retainHandling == .always { options.retainHandling = .ifNew }
        return (Subscribe.Filter(entry.filter, options), properties)
    }

    /// What the server has said that it does not do [MQTT-3.2.2-13 and others].
    private func refusal(_ entry: FilterEntry) -> ReasonCode? {
        if entry.isShared && !session.limits.areSharedAvailable { return .sharedSubscriptionsNotSupported }
        if entry.hasWildcard && !session.limits.areWildcardsAvailable { return .wildcardSubscriptionsNotSupported }
        let (filter, properties) = contents(entry)
        let packet = Packet.subscribe(Subscribe(packetID: 1, filters: [filter], properties: properties))
        return session.isTooLarge(packet) ? .packetTooLarge : nil
    }

    func subackReceived(_ suback: Suback) throws(DecodingError) {
        guard case .subscribe(let request)? = requests[suback.packetID] else {
            throw .protocolError("SUBACK without a SUBSCRIBE")
        }
        guard suback.reasonCodes.count == 1, let code = suback.reasonCodes.first else {
            throw .protocolError("\(suback.reasonCodes.count) codes for one topic filter")
        }
        requests[suback.packetID] = nil
        request.entry.unanswered -= 1
        answered(request, code)
        sendWanted()
    }

    private func answered(_ request: SubscribeRequest, _ code: ReasonCode) {
        let (entry, calls) = (request.entry, request.calls)
        if !code.isError {
            entry.isGranted = true
            entry.isRefused = false
            entry.grantedTerms = request.terms
            if calls.isEmpty { tellCalls(of: entry, code) }
        } else {
            if calls.isEmpty { entry.isRefused = true }
            if !isUnanswered(entry) { entry.mayBeAtServer = entry.isGranted || request.wasAtServer }
        }
        if entry.state == .asked { entry.state = entry.isGranted ? .granted : .wanted }
        for call in calls {
            guard let grants = call.granted(entry.filter, code), call.waiter != nil else { continue }
            if grants.contains(where: { $0.reasonCode.isError }) {
                abandon(call.sink, nil, discarding: true)
                call.end(.failure(.subscriptionRefused(grants)))
            } else {
                call.end(.success(grants))
            }
        }
        guard code.isError, !entry.isGranted, !isUnanswered(entry) else { return }
        // What was refused is another call's: the others ask for what they had.
        if !entry.isRefused && entry.sinks.contains(where: \.isHandedOut) { want(entry) } else { lost(entry, code) }
    }

    /// The server does not give again what it had granted.
    private func lost(_ entry: FilterEntry, _ code: ReasonCode) {
        tellCalls(of: entry, code)
        let lost = entry.sinks.filter(\.isHandedOut)
        guard !lost.isEmpty else { return }
        logger.warning("a subscription was lost", metadata: ["filter": "\(entry.filter)", "reason": "\(code)"])
        status.emit(.subscriptionLost(filter: entry.filter, code))
        entry.sinks.removeAll(where: \.isHandedOut)
        table.forgetRoutes()
        if entry.sinks.isEmpty {
            table.remove(entry)
            if entry.mayBeAtServer { sendUnsubscribe(entry.filter, nil) }
        }
        for sink in lost {
            sink.entries.removeAll { $0 === entry }
            if sink.entries.isEmpty { finish(sink, discarding: false) }
        }
    }

    /// Those that wait for answers to other filters learn of this one when they return.
    private func tellCalls(of entry: FilterEntry, _ code: ReasonCode) {
        for sink in entry.sinks where !sink.isHandedOut { sink.call?.changed(entry.filter, code) }
    }

    /// Whether a SUBSCRIBE for it has no answer, or is to be sent.
    private func isUnanswered(_ entry: FilterEntry) -> Bool {
        entry.unanswered > 0 || wanted.contains { $0 === entry }
    }

    /// The call is not waited for any more.
    func cancelSubscription(_ buffer: MessageBuffer) {
        guard let sink = sink(of: buffer) else { return }
        var calls = sink.entries.flatMap(\.calls)
        for case .subscribe(let request) in requests.values { calls += request.calls }
        for call in calls where call.sink === sink { call.end(.failure(.cancelled)) }
        abandon(sink, nil, discarding: true)
    }

    private func sink(of buffer: MessageBuffer) -> Sink? {
        for entry in table.entries.values {
            if let sink = entry.sinks.first(where: { $0.buffer === buffer }) { return sink }
        }
        return nil
    }

    // MARK: Unsubscribing

    /// The sequence gets nothing more.
    func unsubscribe(_ buffer: MessageBuffer, _ waiter: CheckedContinuation<Result<Void, MQTTError>, Never>?) {
        if unclaimed?.buffer === buffer { endUnclaimed() }
        guard let sink = sink(of: buffer) else {
            waiter?.resume(returning: .success(()))
            return
        }
        abandon(sink, waiter, discarding: false)
    }

    /// The call is not waited for any more.
    func cancelUnsubscription(_ buffer: MessageBuffer) {
        for case .unsubscribe(_, let call?) in requests.values where call.sink.buffer === buffer { call.cancel() }
    }

    /// The sink gets nothing more. `discarding` is for one that nobody reads: what has come for it is acknowledged.
    func abandon(
        _ sink: Sink,
        _ waiter: CheckedContinuation<Result<Void, MQTTError>, Never>?,
        discarding: Bool
    ) {
        var filters: [String] = []
        for entry in sink.entries {
            entry.sinks.removeAll { $0 === sink }
            guard entry.sinks.isEmpty else {
                // Nobody waits for what was to be asked for.
                if entry.state == .wanted && entry.isGranted && !entry.isCalledFor { entry.state = .granted }
                continue
            }
            table.remove(entry)
            if entry.mayBeAtServer { filters.append(entry.filter) }
        }
        table.forgetRoutes()
        sink.entries = []
        finish(sink, discarding: discarding)
        guard isConnected, !filters.isEmpty else {
            unwanted.formUnion(filters)
            waiter?.resume(returning: .success(()))
            return
        }
        let call = waiter.map { UnsubscribeCall(sink, filters.count, $0) }
        for filter in filters { sendUnsubscribe(filter, call) }
    }

    func sendUnsubscribe(_ filter: String, _ call: UnsubscribeCall?, _ properties: Properties = Properties()) {
        let packet = Packet.unsubscribe(Unsubscribe(packetID: 1, filters: [filter], properties: properties))
        guard !session.isTooLarge(packet) else {
            call?.answered(.packetTooLarge)
            return
        }
        guard let id = session.unsubscribe([filter], properties: properties) else {
            unwanted.insert(filter)
            call?.answered(nil)
            return
        }
        requests[id] = .unsubscribe(filter, call)
    }

    func unsubackReceived(_ unsuback: Unsuback) throws(DecodingError) {
        guard case .unsubscribe(_, let call)? = requests[unsuback.packetID] else {
            throw .protocolError("UNSUBACK without an UNSUBSCRIBE")
        }
        guard unsuback.reasonCodes.count == (version == .v5 ? 1 : 0) else {
            throw .protocolError("\(unsuback.reasonCodes.count) codes for one topic filter")
        }
        requests[unsuback.packetID] = nil
        call?.answered(unsuback.reasonCodes.first)
        sendWanted()
    }

    /// It holds nothing back any more.
    private func finish(_ sink: Sink, discarding: Bool) {
        handOver()
        if sink.isFull {
            sink.isFull = false
            fullSinks -= 1
        }
        sink.buffer.finish(discarding: discarding)
    }

    private func endUnclaimed() {
        guard let sink = unclaimed else { return }
        unclaimed = nil
        finish(sink, discarding: false)
    }

    func setUnclaimed(_ buffer: MessageBuffer) {
        endUnclaimed()
        unclaimed = Sink(buffer)
        if isEnding { buffer.finish(discarding: false) }
    }

    // MARK: Connections come and go

    /// A connection was lost before these were answered.
    func returnRequests() {
        let unanswered = requests
        requests = [:]
        for request in unanswered.values {
            switch request {
            case .subscribe(let request):
                let (entry, calls) = (request.entry, request.calls)
                entry.unanswered = 0
                guard table[entry.filter] === entry else {
                    // Taken away since: its filter is not asked for again.
                    for call in calls {
                        call.end(.failure(.cancelled))
                        abandon(call.sink, nil, discarding: true)
                    }
                    continue
                }
                entry.calls = calls + entry.calls
                want(entry)
            // Whether the server has it still, a resumed session may show: it is told again then.
            case .unsubscribe(let filter, let call):
                unwanted.insert(filter)
                call?.answered(nil)
            }
        }
    }

    /// What the session lacks, or has too much. One that is present may be new all the same: begun for a CONNECT whose
    /// answer was lost.
    func resubscribe(sessionPresent: Bool) {
        if !sessionPresent || mayHaveMissedSession {
            wanted = []
            for entry in table.entries.values {
                let hadIt = entry.isGranted || entry.isInDoubt
                entry.isInDoubt = sessionPresent && hadIt && !entry.isCalledFor
                entry.isGranted = false
                entry.isRefused = false
                entry.mayBeAtServer = sessionPresent && entry.mayBeAtServer
                entry.state = .wanted
                wanted.append(entry)
            }
        }
        if sessionPresent {
            for filter in unwanted where table[filter] == nil { sendUnsubscribe(filter, nil) }
        }
        mayHaveMissedSession = false
        unwanted = []
        sendWanted()
    }
}
