{{- define "secretfs.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "secretfs.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "secretfs.labels" -}}
{{ include "secretfs.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "secretfs.image" -}}
{{- with .Values.linux.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses images that cannot be this program's. What is not published is refused where there is a cluster to
install into: in the default values it can be rendered. */}}
{{- define "secretfs.checkImage" -}}
{{- with .Values.linux.image -}}
{{- if regexMatch "(^|/)(csi-)?secrets-store(-csi)?/driver" .repository -}}
{{- fail (printf "linux.image.repository %q is the image of the upstream driver: name one of secretfs, which hack/image builds" .repository) -}}
{{- end -}}
{{- if and (eq .repository "localhost/secretfs") (not .tag) (not .digest) (lookup "v1" "Namespace" "" "kube-system") -}}
{{- fail "linux.image.repository: images are not published yet; build one with hack/image, push it to a registry of yours, and give its name, as in --set linux.image.repository=registry.example.com/secretfs" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The user of the driver: what is set, or what it was, or in a new installation one of its own. What it was stays, because
an upgrade leaves mounters running: those of an earlier version serve root only. */}}
{{- define "secretfs.nodeUser" -}}
{{- $user := 47512 -}}
{{- with lookup "apps/v1" "DaemonSet" .Release.Namespace (printf "%s-node" (include "secretfs.fullname" .)) -}}
{{- range .spec.template.spec.containers -}}
{{- if eq .name "node" -}}{{- $user = dig "securityContext" "runAsUser" 0 . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (kindIs "invalid" .Values.linux.driver.runAsUser) -}}{{- $user = .Values.linux.driver.runAsUser -}}{{- end -}}
{{- int64 $user -}}
{{- end -}}

{{- define "secretfs.startupTaint" -}}
{{ default (printf "%s/agent-not-ready" .Values.csidriver.name) .Values.startupTaint.key }}
{{- end -}}

{{- define "secretfs.logArgs" -}}
- --log-format={{ ternary "json" "text" .Values.logFormatJSON }}
- --log={{ ternary "debug" "info" (ge (int .Values.logVerbosity) 4) }}
{{- end -}}

{{- define "secretfs.httpPort" -}}
{{- regexFind "[0-9]+$" .Values.linux.metricsAddr -}}
{{- end -}}

{{/* As the driver wants it: with a host. */}}
{{- define "secretfs.http" -}}
{{- if hasPrefix ":" .Values.linux.metricsAddr -}}0.0.0.0{{- end -}}{{- .Values.linux.metricsAddr -}}
{{- end -}}

{{/* The audience of tokens for Google: the identity namespace of a cluster or a fleet, or the provider of a federation. */}}
{{- define "secretfs.gcpAudience" -}}
{{- $provider := .Values.gcp.workloadIdentityProvider -}}
{{- if contains "/workloadIdentityPools/" $provider -}}
//iam.googleapis.com/{{ regexReplaceAll "^(https:)?(//iam\\.googleapis\\.com/)?" $provider "" }}
{{- else if .Values.gcp.workloadIdentityPool -}}
{{ .Values.gcp.workloadIdentityPool }}
{{- else if regexMatch "^https://[^/]+/.*projects/[^/]+/" $provider -}}
{{ regexReplaceAll "^https://.*?/projects/([^/]+)/.*$" $provider "${1}" }}.svc.id.goog
{{- else -}}
{{- fail "gcp.enabled: set gcp.workloadIdentityProvider to the URL of the GKE cluster or to the full name of a provider of workload identity federation, or gcp.workloadIdentityPool to the identity namespace" -}}
{{- end -}}
{{- end -}}

{{/* What the values list, and what the stores need that are enabled, each audience once. */}}
{{- define "secretfs.tokenRequests" -}}
{{- $needed := list -}}
{{- if .Values.aws.enabled -}}{{- $needed = append $needed "sts.amazonaws.com" -}}{{- end -}}
{{- if and .Values.aws.enabled .Values.aws.podIdentity -}}{{- $needed = append $needed "pods.eks.amazonaws.com" -}}{{- end -}}
{{- if .Values.azure.enabled -}}{{- $needed = append $needed "api://AzureADTokenExchange" -}}{{- end -}}
{{- if .Values.gcp.enabled -}}{{- $needed = append $needed (include "secretfs.gcpAudience" .) -}}{{- end -}}
{{- $requests := .Values.tokenRequests -}}
{{- $listed := list -}}
{{- range $requests -}}{{- $listed = append $listed .audience -}}{{- end -}}
{{- range $needed -}}
{{- if not (has . $listed) -}}{{- $requests = append $requests (dict "audience" .) -}}{{- end -}}
{{- end -}}
{{- with $requests -}}{{ toYaml . }}{{- end -}}
{{- end -}}

{{/* Whether service accounts are looked at. */}}
{{- define "secretfs.annotations" -}}
{{- $said := toString .Values.serviceAccountAnnotations.enabled -}}
{{- if or (eq $said "true") (and (eq $said "") (or .Values.aws.enabled .Values.gcp.enabled)) -}}true{{- end -}}
{{- end -}}

{{/* Over a socket in the driver's own directory: whoever reaches the metrics has no say in whether it is restarted. */}}
{{- define "secretfs.probe" -}}
exec: {command: [secretfs, healthz, {{ . }}]}
{{- end -}}

{{- define "secretfs.pluginDir" -}}
{{ .Values.linux.kubeletRootDir }}/plugins/{{ .Values.csidriver.name }}
{{- end -}}

{{/* Each driver of a node keeps its own, so that two may run on it. */}}
{{- define "secretfs.stateDir" -}}
{{ .Values.linux.stateDir }}/{{ .Values.csidriver.name }}
{{- end -}}

{{/* Pod settings that both halves share. */}}
{{- define "secretfs.pod" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.linux.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .Values.linux.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.linux.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.linux.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
# Longer than the driver waits for its calls to end.
terminationGracePeriodSeconds: 30
{{- end -}}
