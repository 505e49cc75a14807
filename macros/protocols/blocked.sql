{# The end of a condition that leaves out the messages of a type that the plan has blocked; nothing where it blocks none,
   so that a project without such a plan is built as it was. #}
{% macro and_not_blocked(type, id) -%}
    {% if not revetl.has_part('protocols') -%}
        {{ return('') }}
    {%- endif %}
    {# Named in any case: dbt would not notice that a new plan makes another model come before this one. #}
    {% set violations = ref('revetl', 'revetl_tracking_plan_violations') -%}
    {% if revetl.plan_blocks(revetl.tracking_plan(), type) -%}
    and not exists (
            select 1 from {{ violations }} as blocked
            where
                blocked.message_type = '{{ type }}'
                and blocked.message_id = {{ id }}
                and blocked.action = 'block'
        )
    {%- endif %}
{%- endmacro %}

{# Whether a plan may block a message of a type. #}
{% macro plan_blocks(plan, type) -%}
    {% set planned = plan.documents | selectattr('type', 'equalto', type) | list -%}
    {% set policies = [plan.unplanned_events] if type == 'track' else [] -%}
    {% for document in planned -%}
        {% do policies.extend(document.rules | map(attribute='action')) -%}
        {% do policies.extend(document.closed | map(attribute='action')) -%}
    {% endfor -%}
    {% set found = namespace(blocks=false) -%}
    {% for policy in policies if revetl.may_be(policy, 'block') -%}
        {% set found.blocks = true -%}
    {% endfor -%}
    {{ return(found.blocks) }}
{%- endmacro %}
