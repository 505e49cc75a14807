{# What a plan does about a violation: an action, or `{all: ACTION, sources: {NAME: ACTION}}` where it depends on the
   message's source. #}

{# An action that the target decided, checked. `text` is the template as the plan has it. #}
{% macro plan_action(action, text, valid) -%}
    {% if action | trim not in valid -%}
        {% do exceptions.raise_compiler_error("tracking_plan.yaml: '" ~ text ~ "' is '" ~ action | trim ~ "' for target '"
            ~ target.name ~ "', and must be one of " ~ valid | join(', ') ~ '.') -%}
    {% endif -%}
    {{ return(action | trim) }}
{%- endmacro %}

{# Every action of a policy. #}
{% macro policy_actions(policy) -%}
    {{ return([policy] if policy is string else [policy.all] + policy.sources.values() | list) }}
{%- endmacro %}

{# Whether a policy may come to an action. #}
{% macro may_be(policy, action) -%}
    {{ return(action in revetl.policy_actions(policy)) }}
{%- endmacro %}

{# Whether nothing is ever done. #}
{% macro is_allowed(policy) -%}
    {{ return(revetl.policy_actions(policy) | unique | list == ['allow']) }}
{%- endmacro %}

{# Every policy of a plan. #}
{% macro plan_policies(plan) -%}
    {% set found = [plan.unplanned_events] -%}
    {% for document in plan.documents -%}
        {% for each in document.rules + document.closed if each.action not in found -%}
            {% do found.append(each.action) -%}
        {% endfor -%}
    {% endfor -%}
    {{ return(found) }}
{%- endmacro %}

{# Whether what breaks a rule that is looked for may be allowed. #}
{% macro plan_may_allow(plan) -%}
    {% set policies = [] if plan.unplanned_events == 'allow' else [plan.unplanned_events] -%}
    {% for document in plan.documents -%}
        {% do policies.extend((document.rules + document.closed) | map(attribute='action')) -%}
    {% endfor -%}
    {% set found = namespace(allows=false) -%}
    {% for policy in policies if revetl.may_be(policy, 'allow') -%}
        {% set found.allows = true -%}
    {% endfor -%}
    {{ return(found.allows) }}
{%- endmacro %}

{# What stands for a policy until the source of the message is at hand: the action, or the policy's place. #}
{% macro policy_word(plan, policy) -%}
    {{ return(policy if policy is string else 'policy ' ~ revetl.plan_policies(plan).index(policy)) }}
{%- endmacro %}

{# The action of a policy by its word, for a message's source. #}
{% macro action_of_word(plan, word, source) -%}
    {% set cases = [] -%}
    {% for policy in revetl.plan_policies(plan) if policy is mapping -%}
        {% set of_sources = [] -%}
        {% for name, action in policy.sources.items() -%}
            {% do of_sources.append('when ' ~ source ~ ' = ' ~ revetl.text_literal(name) ~ " then '" ~ action ~ "'") -%}
        {% endfor -%}
        {% do cases.append('when ' ~ word ~ " = 'policy " ~ revetl.plan_policies(plan).index(policy) ~ "' then case "
            ~ of_sources | join(' ') ~ " else '" ~ policy.all ~ "' end") -%}
    {% endfor -%}
    {{ return('case ' ~ cases | join(' ') ~ ' else ' ~ word ~ ' end' if cases else word) }}
{%- endmacro %}
