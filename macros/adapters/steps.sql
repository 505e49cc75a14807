{# A query of steps, each a name and a select of those before it. `often`: the steps that the rest reads more than
   once, or that are made of much. #}
{% macro with_steps(steps, query, often=[]) -%}
    {{ return(adapter.dispatch('with_steps', 'revetl')(steps, query, often)) }}
{%- endmacro %}

{% macro default__with_steps(steps, query, often) -%}
    {% set ctes = [] -%}
    {% for name, select in steps -%}
        {% do ctes.append(name ~ ' as (' ~ select ~ ')') -%}
    {% endfor -%}
    {{ return('with ' ~ ctes | join(', ') ~ ' ' ~ query) }}
{%- endmacro %}

{# A step is worked out as often as it is read, and plans of hundreds of joins take minutes: so these are working
   tables. #}
{% macro spark__with_steps(steps, query, often) -%}
    {% set before = [] -%}
    {% for name, select in steps -%}
        {% set select = {'sql': select} -%}
        {% if name in often -%}
            {% do revetl.working_table(
                name, revetl.default__with_steps(before, select.sql) if before else select.sql) -%}
            {% do select.update({'sql': 'select * from ' ~ revetl.working(name)}) -%}
        {% endif -%}
        {% do before.append((name, select.sql)) -%}
    {% endfor -%}
    {{ return(revetl.default__with_steps(before, query)) }}
{%- endmacro %}

{# Drop what `with_steps` has left of steps that are read often. #}
{% macro drop_steps(names) -%}
    {{ return(adapter.dispatch('drop_steps', 'revetl')(names)) }}
{%- endmacro %}

{% macro default__drop_steps(names) -%}
{%- endmacro %}

{% macro spark__drop_steps(names) -%}
    {% for name in names -%}
        {% do revetl.drop_working_table(name) -%}
    {% endfor -%}
{%- endmacro %}
