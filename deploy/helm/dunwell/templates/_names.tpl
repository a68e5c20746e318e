{{/* Names, labels and what every pod has in common. */}}

{{- define "dunwell.name" -}}
{{- printf "%s-%s" .Release.Name .component | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "dunwell.selector" -}}
app.kubernetes.io/name: dunwell
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dunwell.labels" -}}
{{ include "dunwell.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "dunwell.image" -}}
{{- if .image.digest -}}
{{ printf "%s@%s" .image.repository .image.digest }}
{{- else -}}
{{ printf "%s:%s" .image.repository (.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{- define "dunwell.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dunwell.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "dunwell.secretEnv" -}}
{{- range $variable, $from := . }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ $from.name }}, key: {{ $from.key }}}}
{{- end }}
{{- end -}}

{{- define "dunwell.config" -}}
DUNWELL_KAFKA_BOOTSTRAP: {{ .root.Values.kafka.bootstrap | quote }}
DUNWELL_LOG_LEVEL: {{ .root.Values.logLevel | quote }}
DUNWELL_HTTP_HOST: "0.0.0.0"
{{ printf "DUNWELL_%s_HTTP_PORT" (upper .component) }}: {{ .service.port | quote }}
DUNWELL_ROLES: {{ join "," .service.roles | quote }}
{{- with .root.Values.tracing.endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- range $variable, $value := .service.env }}
{{ $variable }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Egress to one port: towards the peers named, or towards anything when none is. */}}
{{- define "dunwell.egress" -}}
- ports: [{protocol: TCP, port: {{ .port }}}]
  {{- with .peers }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "dunwell.egressDns" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
  to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]
{{- end -}}
